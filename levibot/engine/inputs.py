"""Everything that can happen to the decision core of a symbol, in the past tense.

`now_ns` is the receipt time (CLOCK_BOOTTIME), which the core uses for ages and deadlines only; what it
decides follows event time. Both are recorded, so the core never reads a clock.
"""

from __future__ import annotations

import msgspec

from levibot.bus.messages import (
    AltData,
    Bar,
    Book,
    Grant,
    MarketEvent,
    MarketSpec,
    OrderEvent,
    Position,
    Prediction,
    RiskRefused,
    Role,
    Side,
    Tick,
    Trades,
)


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Base of all inputs."""

    now_ns: int


class HistoryLoaded(Event, frozen=True):
    """The feed's snapshot: bars oldest first, known ones among them."""

    spec: MarketSpec
    bars: list[Bar]
    last_tick: Tick | None = None
    stale: str = ""  # why the market is stale now; empty if it is not


class BarClosed(Event, frozen=True):
    bar: Bar


class TickKept(Event, frozen=True):
    """The latest tick; those that it replaced are not seen."""

    tick: Tick


class MarketChanged(Event, frozen=True):
    event: MarketEvent


class HoleFound(Event, frozen=True):
    """Bars or market events were lost: nothing is opened until history has been loaded again."""

    reason: str


class TimerFired(Event, frozen=True):
    """The loop turned without market data; an answer that has not come by its deadline is none."""


class GrantReceived(Event, frozen=True):
    grant: Grant


class RefusalReceived(Event, frozen=True):
    refusal: RiskRefused


class ModelsAnswered(Event, frozen=True):
    """Each kind of model that was asked the question `request_id` has answered, or will not any more."""

    request_id: int
    predictions: tuple[Prediction, ...]  # one of a kind at most
    missing: dict[str, str] = {}  # why there is none, by kind


class OrderChanged(Event, frozen=True):
    """An order event, and the position after it."""

    event: OrderEvent
    position: Position


class OpenOrder(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An order of the symbol that has not ended: the engine's own, or protection of the broker's."""

    client_id: str
    role: Role
    side: Side


class PositionReconciled(Event, frozen=True):
    """Ledger and broker agree, or `drift` says where they do not."""

    position: Position
    open_orders: list[OpenOrder]
    drift: str = ""
    entered_ms: int = 0  # market time of the newest fill of an entry; 0: there is no position, or it is not known


class IntentFailed(Event, frozen=True):
    """An intent could not be journaled, so it was not sent."""

    client_id: str
    reason: str


class Paused(Event, frozen=True):
    pass


class Resumed(Event, frozen=True):
    pass


class TradesReceived(Event, frozen=True):
    """Public trades, each once; given only to a strategy that wants them."""

    trades: Trades


class BookReceived(Event, frozen=True):
    """The latest order book; given only to a strategy that wants it."""

    book: Book


class ContextBarClosed(Event, frozen=True):
    """A closed bar of the context symbol, or the right one of a minute that was given before."""

    bar: Bar


class AltDataReceived(Event, frozen=True):
    """A value of alternative data; it takes the place of that of the same asset and name."""

    data: AltData


Input = (
    HistoryLoaded
    | BarClosed
    | TickKept
    | MarketChanged
    | HoleFound
    | TimerFired
    | GrantReceived
    | RefusalReceived
    | ModelsAnswered
    | OrderChanged
    | PositionReconciled
    | IntentFailed
    | Paused
    | Resumed
    | TradesReceived
    | BookReceived
    | ContextBarClosed
    | AltDataReceived
)
