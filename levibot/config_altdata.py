"""Settings of alternative data: what is asked, how often, and for how long an answer is good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from levibot.config_base import Seconds, Section
from levibot.config_market import Url, check_url


def _check_feed(url: str) -> str:
    check_url(url.partition("?")[0])
    return url


_Feed = Annotated[str, AfterValidator(_check_feed)]
_Interval = Annotated[float, Field(ge=10)]  # seconds
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,32}$")]  # with room for "_change"
_Metric = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,60}$")]
_Asset = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
_Spelling = Annotated[str, Field(pattern=r"^\S(.{0,58}\S)?$")]  # an empty one would be in every headline
_Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")]


class AltSourceConfig(Section):
    """What every source has."""

    enabled: bool = Field(False, description="Ask it.")
    interval: _Interval = Field(3600.0, description="Seconds between two fetches.")
    max_age: Seconds = Field(86_400.0, description="Seconds from a fetch until its values are too old to be used.")

    @property
    def told(self) -> tuple[str, ...]:
        """Names of the values that it tells."""
        return ()

    @model_validator(mode="after")
    def _values_outlive_the_interval(self) -> Self:
        if self.max_age <= self.interval:
            raise ValueError("max_age must be longer than interval, or values are missing between two fetches")
        return self


class CoinMetricsConfig(AltSourceConfig):
    """Daily on-chain metrics of many assets; the community tier needs no key."""

    max_age: Seconds = Field(
        259_200.0, description="Seconds from a fetch, and from the day it tells of, until a value is too old."
    )
    url: Url = Field("https://community-api.coinmetrics.io/v4", description="Where the API is.")
    metrics: dict[_Name, _Metric] = Field(
        {
            "active_addresses": "AdrActCnt",
            "transactions": "TxCnt",
            "exchange_inflow": "FlowInExNtv",
            "exchange_outflow": "FlowOutExNtv",
            "mvrv": "CapMVRVCur",
        },
        min_length=1,
        description="Metrics by the names that values get here; NAME_change compares with the mean of 30 days.",
    )

    @property
    def told(self) -> tuple[str, ...]:
        """Those of the metrics, and of their changes."""
        return *self.metrics, *(f"{name}_change" for name in self.metrics)

    @model_validator(mode="after")
    def _each_metric_has_one_name(self) -> Self:
        if len(set(self.metrics.values())) < len(self.metrics):
            raise ValueError("metrics must name each metric once: a second name of the same would get no values")
        return self


class MempoolConfig(AltSourceConfig):
    """Bitcoin's fees, mempool and difficulty, of mempool.space or a server of the same kind."""

    interval: _Interval = Field(300.0, description="Seconds between two fetches.")
    max_age: Seconds = Field(1800.0, description="Seconds from a fetch until its values are too old to be used.")
    url: Url = Field("https://mempool.space", description="Where the API is.")

    @property
    def told(self) -> tuple[str, ...]:
        """Of Bitcoin alone."""
        return "fee_rate", "fee_hour", "mempool_transactions", "mempool_vsize", "difficulty_change"


class DuneConfig(AltSourceConfig):
    """Newest results of queries of your own on Dune; they are read, not run: schedule them there."""

    url: Url = Field("https://api.dune.com", description="Where the API is.")
    queries: dict[_Name, Annotated[int, Field(gt=0)]] = Field(
        default_factory=dict, description="Query ids by the names that values get here."
    )
    asset_column: _Column = Field(
        "asset", description="Column of the asset; a result without it is of the market."
    )
    value_column: _Column = Field("value", description="Column of the value.")
    key_file: Path | None = Field(
        None, description="File, mode 0600, with the API key; default: $LEVIBOT_DUNE_KEY, or systemd's `dune`."
    )

    @property
    def told(self) -> tuple[str, ...]:
        """Those of the queries."""
        return tuple(self.queries)

    @model_validator(mode="after")
    def _there_is_something_to_ask(self) -> Self:
        if self.enabled and not self.queries:
            raise ValueError("enabled needs queries = { NAME = QUERY_ID }")
        return self


class NewsConfig(AltSourceConfig):
    """Sentiment of headlines: of feeds of the user's choice, scored by words or by a language model."""

    interval: _Interval = Field(300.0, description="Seconds between two fetches.")
    max_age: Seconds = Field(1800.0, description="Seconds from a fetch until its values are too old to be used.")
    feeds: tuple[_Feed, ...] = Field(
        (), description="Addresses of RSS or Atom feeds, which may have a query, and in it no secret."
    )
    names: dict[_Asset, tuple[_Spelling, ...]] = Field(
        default_factory=dict, description="Further names of assets in headlines, by base asset."
    )
    window: Seconds = Field(21_600.0, description="Seconds after which a headline no longer counts.")
    half_life: Seconds = Field(3600.0, description="Seconds after which a headline counts half as much.")
    least_headlines: Annotated[int, Field(ge=1)] = Field(
        3, description="Headlines of an asset within the window; of fewer there is no sentiment."
    )
    clamp: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="Most that sentiment is away from 0, whatever headlines say."
    )
    scorer: Literal["vader", "llm"] = Field(
        "vader", description="Words of a lexicon, without a server; or a language model."
    )
    url: Url = Field("http://127.0.0.1:11434/v1", description="Of the language model's server, in OpenAI's form.")
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        "gemma3:4b", description="Name of the model on that server."
    )
    key_file: Path | None = Field(
        None,
        description="File, mode 0600, with its API key; default: $LEVIBOT_SENTIMENT_KEY, systemd's `sentiment`.",
    )
    batch: Annotated[int, Field(ge=1, le=100)] = Field(20, description="Most headlines of one request.")
    timeout: Seconds = Field(60.0, description="Seconds that one request may take.")
    requests_per_minute: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Requests to the model a minute, of all symbols together."
    )
    burst: Annotated[int, Field(ge=1)] = Field(10, description="Requests to the model that may go out at once.")
    daily_requests: Annotated[int, Field(ge=1)] = Field(
        2000, description="Most requests to the model of a UTC day."
    )

    @property
    def told(self) -> tuple[str, ...]:
        """Of each asset, and of the market."""
        return "sentiment", "news_count"

    @model_validator(mode="after")
    def _there_is_something_to_read(self) -> Self:
        if self.enabled and not self.feeds:
            raise ValueError("feeds must name at least one RSS or Atom feed, or there is no news to read")
        return self


class FundingConfig(AltSourceConfig):
    """Funding rate and open interest of the swap of each traded symbol; the feed asks its exchange for them."""

    interval: _Interval = Field(300.0, description="Seconds between two fetches.")
    max_age: Seconds = Field(3600.0, description="Seconds from a fetch until its values are too old to be used.")

    @property
    def told(self) -> tuple[str, ...]:
        """Of each asset that has a swap."""
        return "funding_rate", "open_interest", "open_interest_change"


class AltDataConfig(Section):
    """Sentiment and on-chain data: optional features of models."""

    repeat_interval: Seconds = Field(
        10.0, description="Seconds after which values are published again, for who came later."
    )
    coin_metrics: CoinMetricsConfig = Field(default_factory=CoinMetricsConfig)
    news: NewsConfig = Field(default_factory=NewsConfig)
    mempool: MempoolConfig = Field(default_factory=MempoolConfig)
    dune: DuneConfig = Field(default_factory=DuneConfig)
    funding: FundingConfig = Field(default_factory=FundingConfig)

    @property
    def enabled(self) -> bool:
        """Whether there is anything to be asked."""
        return bool(self.asked)

    @property
    def asked(self) -> dict[str, AltSourceConfig]:
        """Sections of the sources that are enabled, by name."""
        sections = {key: section for key, section in self if isinstance(section, AltSourceConfig)}
        return {key: section for key, section in sections.items() if section.enabled}

    @model_validator(mode="after")
    def _each_value_has_one_source(self) -> Self:
        tellers: dict[str, str] = {}
        for key, section in self.asked.items():
            for name in section.told:
                if name.startswith("market_"):
                    raise ValueError(f"{key}: the name {name} is of what concerns the market; choose another")
                if tellers.setdefault(name, key) != key or section.told.count(name) > 1:
                    raise ValueError(f"{key} and {tellers[name]} both tell {name}; give one of them another name")
        return self
