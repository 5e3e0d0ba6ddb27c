"""Every message that crosses a process boundary, typed.

Structs travel as msgpack arrays: trailing fields may be added with a default, none may be moved or removed.
Money (quantities, prices of orders, fees, cash) is `Decimal`, carried as text; market data is binary float.
Times carry their unit: `*_ms` is event or wall time, Unix UTC; `*_ns` is CLOCK_BOOTTIME of this machine.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
OrderKind = Literal["market", "limit", "stop", "take_profit", "trailing_stop"]
Role = Literal["entry", "exit", "stop", "take_profit", "emergency"]
RiskState = Literal["ACTIVE", "REDUCING", "HALTED"]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages: immutable, positional on the wire."""


class MoneyMessage(Message, frozen=True):
    """Base of messages with exact numbers: one NaN or infinity would poison every sum after it."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{name} is {value}, expected a finite number")


# --------------------------------------------------------------------------- market data (PUB → SUB)


class Tick(Message, frozen=True):
    """One price update. Conflated by receivers: the latest wins, the rest is counted by `seq`."""

    symbol: str
    epoch: int  # one value per start of the feed
    seq: int  # per symbol, from 1, ticks only
    reliable_seq: int  # last sequence number of the symbol's bars and market events: shows a hole at once
    event_ms: int  # exchange time
    received_ns: int  # when it entered this machine
    bid: float
    ask: float
    last: float
    volume: float = 0.0  # base amount traded since the tick before
    lockstep: bool = False  # True: the feed waits for an `Acknowledge`

    def reaches(self, epoch: int, seq: int) -> bool:
        """Whether this is that tick of the same symbol, or a later one; a feed's epochs grow."""
        return (self.epoch, self.seq) >= (epoch, seq)


class Bar(Message, frozen=True):
    """One closed one-minute bar. `seq` is shared with market events: never lost, never reordered."""

    symbol: str
    epoch: int
    seq: int
    open_ms: int  # opening time, a multiple of 60 000
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool = False  # forward-filled, nothing traded
    received_ns: int = 0
    lockstep: bool = False


class MarketConnected(Message, frozen=True, tag=True):
    symbol: str
    epoch: int
    seq: int
    event_ms: int
    lockstep: bool = False


class MarketGap(Message, frozen=True, tag=True):
    """Minutes without data: filled with synthetic bars, or left open where the hole is too long."""

    symbol: str
    epoch: int
    seq: int
    event_ms: int
    from_ms: int  # opening time of the first missing bar
    missing: int  # number of one-minute bars
    filled: bool
    lockstep: bool = False


class MarketStale(Message, frozen=True, tag=True):
    symbol: str
    epoch: int
    seq: int
    event_ms: int
    reason: str
    lockstep: bool = False


class MarketRecovered(Message, frozen=True, tag=True):
    symbol: str
    epoch: int
    seq: int
    event_ms: int
    lockstep: bool = False


class MarketEnded(Message, frozen=True, tag=True):
    """A replay has no more data for this symbol."""

    symbol: str
    epoch: int
    seq: int
    event_ms: int
    lockstep: bool = False


MarketEvent = MarketConnected | MarketGap | MarketStale | MarketRecovered | MarketEnded
Reliable = Bar | MarketConnected | MarketGap | MarketStale | MarketRecovered | MarketEnded


class MarketSpec(MoneyMessage, frozen=True):
    """What the exchange says of a market. Fees are fractions."""

    symbol: str
    base: str
    quote: str
    amount_step: Decimal
    price_tick: Decimal
    min_amount: Decimal
    min_cost: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    can_short: bool = False
    active: bool = True


# --------------------------------------------------------------------------- snapshot (DEALER → ROUTER, feed)


class SnapshotRequest(Message, frozen=True, tag=True):
    request_id: int
    symbol: str
    bars: int  # how many closed bars at most


class JoinLockstep(Message, frozen=True, tag=True):
    """From now on the feed waits for this participant's acknowledgements of these symbols ([] = all)."""

    participant: str
    symbols: list[str]


class LeaveLockstep(Message, frozen=True, tag=True):
    participant: str


class Acknowledge(Message, frozen=True, tag=True):
    """A lockstep message and all that follows from it are done."""

    participant: str
    symbol: str
    kind: Literal["tick", "bar", "market"]
    seq: int


class Snapshot(Message, frozen=True, tag=True):
    """State of a symbol at `seq`: apply later bars and events only. `bars` is oldest first."""

    request_id: int
    symbol: str
    epoch: int
    seq: int
    spec: MarketSpec
    bars: list[Bar]
    gaps: list[MarketGap]
    last_tick: Tick | None = None


class SnapshotRefused(Message, frozen=True, tag=True):
    """The feed has nothing for this symbol (yet): ask again later."""

    request_id: int
    symbol: str
    reason: str


FeedRequest = SnapshotRequest | JoinLockstep | LeaveLockstep | Acknowledge
FeedReply = Snapshot | SnapshotRefused


# --------------------------------------------------------------------------- risk (DEALER → ROUTER, supervisor)


class RiskRequest(MoneyMessage, frozen=True, tag=True):
    """An engine asks to open or increase a position."""

    request_id: int
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    probability: float | None  # of the event that the strategy bets on, or None
    confidence: float  # 0..1
    volatility: float | None  # annualised, None if unknown
    event_ms: int
    market_seq: int = 0  # sequence number of the newest tick that the engine had seen
    market_epoch: int = 0  # its epoch


class Grant(MoneyMessage, frozen=True, tag=True):
    """Leave to increase a position: once, up to `max_quantity`, until `expires_ns`."""

    request_id: int
    client_id: str
    symbol: str
    side: Side
    max_quantity: Decimal
    supervisor_epoch: int
    expires_ns: int  # CLOCK_BOOTTIME
    mac: bytes = b""  # keyed digest: only the supervisor can make a grant, only the broker can check it


class RiskRefused(Message, frozen=True, tag=True):
    request_id: int
    client_id: str
    symbol: str
    reason: str


RiskAnswer = Grant | RiskRefused


# --------------------------------------------------------------------------- orders (DEALER → ROUTER, broker)


class Intent(MoneyMessage, frozen=True):
    """An order that an engine has journaled and wants carried out, exactly once."""

    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal
    role: Role
    event_ms: int
    reduce_only: bool = False
    limit_price: Decimal | None = None
    post_only: bool = False
    trigger_price: Decimal | None = None  # of a stop or take-profit order
    trailing_offset: Decimal | None = None
    stop_loss: Decimal | None = None  # protection that the broker places for each fill of an entry
    take_profit: Decimal | None = None
    parent_id: str | None = None  # the entry that a protective order belongs to
    market_seq: int = 0  # newest tick that the engine had seen; the broker fills on none older
    grant: Grant | None = None
    market_epoch: int = 0  # of that tick


class Fill(MoneyMessage, frozen=True):
    fill_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Literal["maker", "taker"]


class OrderMessage(Message, frozen=True):
    """Base of order events. `seq` counts all events of the broker, `symbol_seq` those of the symbol."""

    seq: int
    symbol_seq: int
    symbol: str
    client_id: str
    event_ms: int  # market time
    recorded_ms: int  # wall time


class OrderSubmitted(OrderMessage, frozen=True, tag=True):
    """The broker has journaled the order. Carries all of it: stops are orders that no engine sent."""

    intent: Intent


class OrderAccepted(OrderMessage, frozen=True, tag=True):
    exchange_id: str


class OrderPartiallyFilled(OrderMessage, frozen=True, tag=True):
    fill: Fill


class OrderFilled(OrderMessage, frozen=True, tag=True):
    fill: Fill


class OrderCancelled(OrderMessage, frozen=True, tag=True):
    reason: str


class OrderDenied(OrderMessage, frozen=True, tag=True):
    """Refused before it reached the exchange."""

    reason: str


class OrderRejected(OrderMessage, frozen=True, tag=True):
    """Definitely refused by the exchange."""

    reason: str


class OrderUnknown(OrderMessage, frozen=True, tag=True):
    """The answer was lost: to be resolved by asking, never by sending again."""

    reason: str


OrderEvent = (
    OrderSubmitted
    | OrderAccepted
    | OrderPartiallyFilled
    | OrderFilled
    | OrderCancelled
    | OrderDenied
    | OrderRejected
    | OrderUnknown
)
TERMINAL = (OrderFilled, OrderCancelled, OrderDenied, OrderRejected)


class Position(MoneyMessage, frozen=True):
    """Signed base quantity and its average entry price."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    realized_pnl: Decimal


class SubmitOrder(Message, frozen=True, tag=True):
    intent: Intent


class CancelOrder(Message, frozen=True, tag=True):
    symbol: str
    client_id: str


class ReconcileRequest(Message, frozen=True, tag=True):
    """An engine (re)connects: it wants all events after `since`, and the fate of its open orders.

    The broker refuses for ever any of `open_ids` that it does not know, so an intent lost on the way
    cannot arrive later.
    """

    request_id: int
    symbol: str
    since: int  # symbol_seq
    open_ids: list[str]


class AccountRequest(Message, frozen=True, tag=True):
    """The supervisor follows the whole account: events after `since`, or a snapshot if it is None."""

    request_id: int
    since: int | None


BrokerRequest = SubmitOrder | CancelOrder | ReconcileRequest | AccountRequest


class Reconciled(Message, frozen=True, tag=True):
    request_id: int
    symbol: str
    symbol_seq: int  # last event of the symbol
    events: list[OrderEvent]  # those after `since`, oldest first
    position: Position
    open_orders: list[Intent]  # resting orders of the symbol, protective ones too
    unknown_ids: list[str]  # of `open_ids`: never arrived, and now never will


class NotReady(Message, frozen=True, tag=True):
    """The broker is still recovering, or has no data for the symbol: ask again."""

    request_id: int
    reason: str


class AccountSnapshot(MoneyMessage, frozen=True, tag=True):
    request_id: int
    seq: int  # last event counted in
    cash: Decimal
    quote: str
    positions: list[Position]
    open_orders: list[Intent]


class OrderEvents(Message, frozen=True, tag=True):
    """Events as they happen, and the answer to a request for those since N."""

    events: list[OrderEvent]


BrokerReply = Reconciled | NotReady | AccountSnapshot | OrderEvents


# --------------------------------------------------------------------------- heartbeat (PUSH → PULL, supervisor)


class EngineReport(MoneyMessage, frozen=True, tag=True):
    price: float | None
    signal: str | None  # "long", "short", "flat", or None before the first
    probability: float | None
    confidence: float | None
    position: Decimal | None
    entry_price: Decimal | None
    daily_pnl: Decimal | None
    total_pnl: Decimal | None
    trade_count: int
    signals: dict[str, int]  # count by side
    ticks: int  # kept
    conflated: int  # replaced by a later tick before they were looked at
    tick_latency_us: int  # newest tick: entered the machine → strategy called
    bar_ms: int | None  # opening time of the newest closed bar
    ledger: str = "ok"  # or what was wrong with it
    refused_messages: int = 0  # that did not decode, or made no sense


class FeedReport(Message, frozen=True, tag=True):
    published: int
    symbols: dict[str, str]  # symbol → state in words
    event_ms: int | None
    ended: bool
    refused_messages: int = 0


class BrokerReport(Message, frozen=True, tag=True):
    seq: int
    open_orders: int
    orders: dict[str, int]  # count by state
    refused_messages: int


class Heartbeat(Message, frozen=True):
    """Proof of work, sent by the loop that does the work."""

    worker: str
    incarnation: int
    pid: int
    ready: bool
    waiting_for: str  # "" when ready
    paused: bool
    turns: int  # of the loop
    market_ns: int | None  # when the newest market data was received
    decision_ns: int | None  # newest decision
    errors: int
    last_error: str
    queue_depth: int
    dropped: int
    preloaded: bool  # the forkserver's preload took
    report: EngineReport | FeedReport | BrokerReport | None = None


# --------------------------------------------------------------------------- control (DEALER ↔ ROUTER, supervisor)


class Hello(Message, frozen=True, tag=True):
    """First message of a worker: it runs, and can be commanded."""

    worker: str
    incarnation: int
    pid: int


class Acknowledged(Message, frozen=True, tag=True):
    command_id: int
    ok: bool
    detail: str = ""


class Crashed(Message, frozen=True, tag=True):
    """Last word of a worker that ends by an error."""

    worker: str
    incarnation: int
    error: str


class Stop(Message, frozen=True, tag=True):
    command_id: int
    reason: str


class Pause(Message, frozen=True, tag=True):
    """Market data flows on, no new risk is opened."""

    command_id: int


class Resume(Message, frozen=True, tag=True):
    command_id: int


class SymbolsChanged(Message, frozen=True, tag=True):
    """To feed and broker: the symbols that are wanted now."""

    command_id: int
    symbols: list[str]


Command = Stop | Pause | Resume | SymbolsChanged
WorkerMessage = Hello | Acknowledged | Crashed
