"""What every dialect translates: instruments, trades, bars and the events of a market."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Literal

from tests.exchange.clock import MINUTE_MS

DAY_MS = 1440 * MINUTE_MS

Kind = Literal["trade", "aggTrade", "depth", "limit_depth", "quote", "bar", "ticker", "orders", "fills", "assets"]
Side = Literal["buy", "sell"]
Status = Literal["trading", "halted", "delisted"]
Level = tuple[Decimal, Decimal]


@dataclass(frozen=True)
class Instrument:
    """One market's rules, and how lively its simulation is."""

    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_amount: Decimal
    min_cost: Decimal
    first_price: Decimal
    trades_per_s: float = 2.0
    quotes_per_s: float | None = None  # None: as all others
    max_amount: Decimal = Decimal(9000)

    @property
    def symbol(self) -> str:
        return f"{self.base}/{self.quote}"

    @property
    def id(self) -> str:
        return f"{self.base}{self.quote}"

    def to_tick(self, price: Decimal) -> Decimal:
        return (price / self.tick).to_integral_value(ROUND_DOWN) * self.tick

    def to_step(self, amount: Decimal) -> Decimal:
        return (amount / self.step).to_integral_value(ROUND_DOWN) * self.step


@dataclass(frozen=True)
class Trade:
    id: int
    symbol: str
    price: Decimal
    amount: Decimal
    time_ms: int
    buyer_is_maker: bool

    @property
    def side(self) -> Side:
        """The taker's side."""
        return "sell" if self.buyer_is_maker else "buy"


@dataclass
class Bar:
    """One minute; the last one of a market is still forming."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    trades: int = 0
    taker_buys: Decimal = Decimal(0)

    @property
    def close_ms(self) -> int:
        """Its last millisecond."""
        return self.open_ms + MINUTE_MS - 1

    def add(self, trade: Trade) -> None:
        self.high = max(self.high, trade.price)
        self.low = min(self.low, trade.price)
        self.close = trade.price
        self.volume += trade.amount
        self.cost += trade.amount * trade.price
        self.trades += 1
        if not trade.buyer_is_maker:
            self.taker_buys += trade.amount

    @classmethod
    def at(cls, open_ms: int, price: Decimal) -> Bar:
        return cls(open_ms, price, price, price, price)


def by_day(minutes: list[Bar]) -> list[Bar]:
    """Bars of a day of UTC, from those of its minutes."""
    days: dict[int, Bar] = {}
    for bar in minutes:
        open_ms = bar.open_ms - bar.open_ms % DAY_MS
        day = days.setdefault(open_ms, Bar(open_ms, bar.open, bar.high, bar.low, bar.close))
        day.high, day.low, day.close = max(day.high, bar.high), min(day.low, bar.low), bar.close
        day.volume += bar.volume
        day.cost += bar.cost
        day.trades += bar.trades
    return list(days.values())


@dataclass(frozen=True)
class BookChange:
    """Every level that changed between two update ids, both included; amount 0: the level is gone."""

    symbol: str
    first_id: int
    last_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time_ms: int


@dataclass(frozen=True)
class Quote:
    symbol: str
    update_id: int
    bid: Level
    ask: Level
    time_ms: int


@dataclass(frozen=True)
class BarUpdate:
    symbol: str
    bar: Bar
    closed: bool
    time_ms: int


@dataclass(frozen=True)
class DayTicker:
    """The last 24 hours."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    cost: Decimal
    trades: int
    open_ms: int
    time_ms: int
    bid: Level = (Decimal(0), Decimal(0))
    ask: Level = (Decimal(0), Decimal(0))


@dataclass(frozen=True)
class Frame:
    """A recorded frame that passes through as it is."""

    symbol: str
    stream: str
    raw: bytes = field(repr=False)


MarketEvent = Trade | BookChange | Quote | BarUpdate | DayTicker | Frame


def text(value: Decimal) -> str:
    """A decimal as exchanges write it: no exponent, no needless zeros."""
    return format(value.normalize(), "f") if value else "0"
