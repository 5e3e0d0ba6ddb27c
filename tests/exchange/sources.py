"""Where a market's movement comes from: the simulation, recorded frames, recorded candles."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from tests.exchange.market import Market
from tests.exchange.model import Instrument, Kind
from tests.exchange.replay_candles import CandleReplay
from tests.exchange.replay_frames import FrameReplay
from tests.exchange.settings import Settings
from tests.exchange.simulation import Simulation, instruments
from tests.exchange.sockets import Hub


class Source(Protocol):
    """What moves a market."""

    instruments: list[Instrument]
    start_ms: int | None
    minutes_without_trades: bool

    def prepare(self, market: Market, hub: Hub) -> None:
        """Fill the market with what was before the start."""
        ...

    def run(self) -> Coroutine[Any, Any, None]: ...

    def publishes(self, kind: Kind, recorded: bool) -> bool:
        """Whether an event goes out: a replay of frames sends these and nothing made up."""
        ...


class Simulated:
    """The seeded simulation."""

    minutes_without_trades = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start_ms = settings.start_ms
        self.instruments = instruments(list(settings.symbols), settings.trades_per_s, list(settings.quiet))

    def prepare(self, market: Market, hub: Hub) -> None:
        settings = self.settings
        self._simulation = Simulation(market, settings.seed, settings.history, settings.quotes_per_s)

    def run(self) -> Coroutine[Any, Any, None]:
        return self._simulation.run()

    def publishes(self, kind: Kind, recorded: bool) -> bool:
        return True


def make_source(settings: Settings) -> Source:
    if settings.replay is None:
        return Simulated(settings)
    if settings.replay.is_file() and ".jsonl" in settings.replay.name:
        return _frames([settings.replay], settings)
    if frames := sorted(settings.replay.glob("*.jsonl.gz")):
        return _frames(frames, settings)
    return CandleReplay(settings)


def _frames(paths: list[Path], settings: Settings) -> FrameReplay:
    return FrameReplay(paths, settings.speed, waits=settings.replay_waits, lead_s=settings.replay_lead_s)
