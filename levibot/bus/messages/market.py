"""Market data (PUB → SUB), and snapshots of it (DEALER → ROUTER of the feed)."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

from levibot.bus.messages.base import Message, MoneyMessage


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
    buy_volume: float = math.nan  # its flow, as of `levibot.market.bars.Candle`; NaN: not known
    trades: float = math.nan
    spread: float = math.nan
    imbalance: float = math.nan


class Trade(Message, frozen=True, array_like=True):
    """One public trade."""

    trade_id: str  # of the exchange; empty where it gives none
    event_ms: int
    side: Literal["buy", "sell"] | None  # of the taker; None: not told
    price: float
    amount: float  # base


class Trades(Message, frozen=True):
    """Public trades in the order of the exchange, each once; `seq` shows a loss on the bus."""

    symbol: str
    epoch: int
    seq: int  # per symbol, from 1, of these messages only
    event_ms: int  # of the newest of them
    received_ns: int
    trades: list[Trade]
    backfilled: bool = False  # read later, after a gap: not in time for a decision


class Book(Message, frozen=True):
    """Order book, best first. Conflated like ticks."""

    symbol: str
    epoch: int
    seq: int  # per symbol, from 1, of books only
    event_ms: int
    received_ns: int
    bids: list[tuple[float, float]]  # price, base amount
    asks: list[tuple[float, float]]


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


class BarCorrected(Message, frozen=True, tag=True):
    """The exchange's own bar differs from the one that was published for this minute; this one counts."""

    symbol: str
    epoch: int
    seq: int
    event_ms: int
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    lockstep: bool = False
    synthetic: bool = False  # the exchange has a bar, but nothing was traded in it
    buy_volume: float = math.nan  # its flow, as it was seen here: the exchange's own bar has none
    trades: float = math.nan
    spread: float = math.nan
    imbalance: float = math.nan

    @property
    def bar(self) -> Bar:
        """The bar that counts."""
        return Bar(
            self.symbol,
            self.epoch,
            self.seq,
            self.open_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.synthetic,
            buy_volume=self.buy_volume,
            trades=self.trades,
            spread=self.spread,
            imbalance=self.imbalance,
        )


class SpecChanged(Message, frozen=True, tag=True):
    """The exchange has changed the rules of a market, or halted it: then it is not `active`, for exits only."""

    symbol: str
    epoch: int
    seq: int
    event_ms: int
    spec: MarketSpec
    lockstep: bool = False


class MarketEnded(Message, frozen=True, tag=True):
    """A replay has no more data for this symbol."""

    symbol: str
    epoch: int
    seq: int
    event_ms: int
    lockstep: bool = False


MarketEvent = (
    MarketConnected | MarketGap | MarketStale | MarketRecovered | BarCorrected | SpecChanged | MarketEnded
)
Reliable = (
    Bar | MarketConnected | MarketGap | MarketStale | MarketRecovered | BarCorrected | SpecChanged | MarketEnded
)


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
    stale: str = ""  # why the market is stale now; empty if it is not


class SnapshotRefused(Message, frozen=True, tag=True):
    """The feed has nothing for this symbol (yet): ask again later."""

    request_id: int
    symbol: str
    reason: str


FeedRequest = SnapshotRequest | JoinLockstep | LeaveLockstep | Acknowledge
FeedReply = Snapshot | SnapshotRefused
