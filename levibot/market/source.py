"""Where market data come from: one interface for what is played back and what is streamed live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

from levibot.bus.messages import Acknowledge, JoinLockstep, LeaveLockstep
from levibot.config_market import FeedConfig
from levibot.errors import ConfigError
from levibot.market.path import Item
from levibot.market.recording import Market, Recording

LockstepMessage = JoinLockstep | LeaveLockstep | Acknowledge


class Step(NamedTuple):
    """One message that was published: what an `Acknowledge` names."""

    symbol: str
    kind: Literal["tick", "bar", "market"]
    seq: int


Publish = Callable[[str, int, Item], Step | None]  # symbol, event time in ms, what happened; see `Publisher`


class Source(Protocol):
    """A source of market data for any number of symbols.

    A symbol is opened (history and specification), then begun; from then on `run` publishes what happens
    to it. A live exchange fits behind the same four calls: `open` by REST, `run` by WebSocket.
    """

    disclosure: str
    opens_at_once: int  # symbols that may be opened at the same time

    @property
    def position_ms(self) -> int | None:
        """Event time up to which everything has been published; None before the first symbol."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no symbol will ever have more data."""
        ...

    async def open(self, symbol: str) -> Market:
        """History of `symbol` up to now.

        Raises
        ------
        MarketDataError
            If there are no data, or bad ones: trying again would not help.
        RetryError, BackOffError, OSError
            If it may succeed later.
        """
        ...

    def begin(self, symbol: str, market: Market) -> None:
        """Publish from now on what happens after `market.history`."""
        ...

    def close(self, symbol: str) -> None:
        """Publish nothing more of `symbol`."""
        ...

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled."""
        ...

    def heed(self, message: LockstepMessage) -> None:
        """Take note of what a lockstep participant says; nothing where there is no lockstep."""
        ...

    async def stop(self) -> None:
        """Close everything, after `run` has been cancelled."""
        ...


def open_recording(config: FeedConfig, source: str | None = None) -> Recording:
    """Make the recording that the configuration names.

    Parameters
    ----------
    config
        Section ``[feed]``.
    source
        Name of the source; default: `config.source`.

    Raises
    ------
    ConfigError
        If there is no such source, or its settings are wrong.
    """
    name = source or config.source
    start_ms = None if config.start is None else parse_time(config.start, "[feed] start")
    if name == "simulated":
        from levibot.market.simulated import SimulatedRecording

        return SimulatedRecording(config.seed, start_ms)
    if name == "replay":
        from levibot.market.replay import ReplayRecording

        if config.path is None:
            raise ConfigError('[feed] source = "replay" needs path = "FOLDER"')
        return ReplayRecording(config.path, start_ms, config.history_bars)
    raise ConfigError(f'[feed] source = {name!r} is no recording; use "simulated" or "replay"')


def parse_time(text: str, setting: str) -> int:
    """Unix time in ms of an ISO 8601 time; UTC where it names no zone.

    Raises
    ------
    ConfigError
        If it is none; the text names `setting`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{setting} = {text!r}: expected a UTC time such as 2025-05-26T12:00:00Z ({error})"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def settings_key(config: FeedConfig) -> str:
    """What makes two feeds play the same market, in words: progress is kept under it."""
    if config.source == "simulated":
        return f"simulated seed={config.seed} start={config.start}"
    return f"replay path={config.path} start={config.start}"
