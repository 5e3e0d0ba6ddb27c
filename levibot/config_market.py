"""The sections of the configuration that say what is traded on, and where market data come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from levibot.config_base import Section, Share
from levibot.symbols import is_canonical


def check_url(url: str) -> str:
    """`url`, if it is one that holds no secret; ValueError otherwise."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:8080 or wss://stream.example.org")
    if parts.username or parts.password or parts.query:
        raise ValueError("a URL here may hold no user, password or query: this file is no place for secrets")
    return url


def _check_proxy(url: str) -> str:
    if urlsplit(check_url(url)).scheme not in ("http", "https"):
        raise ValueError("expected an HTTP proxy such as http://127.0.0.1:3128")
    return url


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    secrets = {"apikey", "secret", "password", "privatekey", "uid", "token"}
    for key in options:
        if key.lower().replace("_", "") in secrets:
            raise ValueError(f"{key} is a secret: this file is no place for it")
    return options


def _check_context(symbol: str) -> str:
    if symbol and not is_canonical(symbol):
        raise ValueError(
            f"{symbol!r} is no symbol; write it as BASE/QUOTE, for example BTC/USDT, or leave it empty"
        )
    return symbol


Url = Annotated[str, AfterValidator(check_url)]


class ExchangeConfig(Section):
    """What is traded on, and how it is reached; id and account are part of the name of the state directory."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+$")] | None = Field(
        None,
        description="Exchange whose markets are traded; default: mexc with source ccxt, else the source's name.",
    )
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] = Field(
        "default", description="Name of the account; state is kept apart for each."
    )
    sandbox: bool = Field(False, description="Use the exchange's own test network, where it has one.")
    urls: dict[str, Url] = Field(
        default_factory=dict,
        description="URLs in place of the exchange's own, by dotted key of ccxt's urls.api.",
    )
    options: Annotated[dict[str, Any], AfterValidator(_check_options)] = Field(
        default_factory=dict, description="Options of ccxt for this exchange, laid over LeviBot's."
    )
    proxy: Annotated[str, AfterValidator(_check_proxy)] | None = Field(
        None, description="HTTP proxy through which the exchange is reached; default: none."
    )
    requests_per_minute: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Requests of weight 1 a minute, for all processes together; default: what ccxt knows.",
    )
    feed_share: Share = Field(0.4, description="Part of them that is the feed's.")
    download_share: Share = Field(0.2, description="Part of them for `levibotctl download`.")
    reserved_share: Share = Field(
        0.2, description="Part of them kept for cancels, exits and reconciliation; what is left is for orders."
    )

    @model_validator(mode="after")
    def _shares_leave_room_for_orders(self) -> Self:
        if self.feed_share + self.download_share + self.reserved_share >= 1:
            raise ValueError("feed_share, download_share and reserved_share must leave a part for orders")
        return self


class FeedConfig(Section):
    """Market data."""

    source: Literal["simulated", "replay", "ccxt"] = Field(
        "simulated", description="Where market data comes from; ccxt: live, from the exchange of [exchange]."
    )
    seed: int = Field(7, description="Seed of the simulated exchange.")
    speed: Annotated[float, Field(gt=0)] = Field(60.0, description="Market seconds for each second.")
    tick_hz: Annotated[float, Field(gt=0, le=1000)] = Field(4.0, description="Ticks a second and symbol.")
    lockstep: bool = Field(
        False, description="Wait until all have dealt with an event before the next; speed is then ignored."
    )
    path: Path | None = Field(
        None,
        description="replay: folder of candles (BTCUSDT-1m.csv.gz, .csv, .parquet), of recorded frames, or "
        "of what [feed] record wrote.",
    )
    start: str | None = Field(None, description="replay: UTC time of the first live bar, ISO 8601.")
    history_bars: Annotated[int, Field(gt=0, le=10_000)] = Field(
        1500, description="Closed bars in the snapshot an engine starts from."
    )
    max_gap_minutes: Annotated[int, Field(ge=0)] = Field(
        120, description="Longer holes in the data are not filled."
    )
    live_tick_hz: Annotated[float, Field(gt=0, le=1000)] = Field(
        30.0, description="ccxt: most ticks a second and symbol; of those between the newest wins."
    )
    book_hz: Annotated[float, Field(gt=0, le=100)] = Field(
        10.0, description="ccxt: most order books a second and symbol."
    )
    stale_after: Annotated[float, Field(ge=2)] = Field(
        4.0,
        description="ccxt: seconds of silence, unless the exchange confirms it, until a market is stale; it is "
        "asked at half of that.",
    )
    context: Annotated[str, AfterValidator(_check_context)] = Field(
        "BTC/USDT",
        description="Market that strategies may look at besides their own; streamed if one does. Empty: none.",
    )
    record: bool = Field(False, description="Write all that is published to a recording that can be replayed.")

    @property
    def is_artificial(self) -> bool:
        """Whether event time is no wall clock."""
        return self.source in ("simulated", "replay")

    @model_validator(mode="after")
    def _replay_needs_a_path(self) -> FeedConfig:
        if self.source == "replay" and self.path is None:
            raise ValueError('source = "replay" needs path = "FOLDER"')
        return self

    @model_validator(mode="after")
    def _live_markets_do_not_wait(self) -> Self:
        if self.source == "ccxt" and self.lockstep:
            raise ValueError('lockstep needs source = "simulated" or "replay": an exchange waits for nobody')
        return self
