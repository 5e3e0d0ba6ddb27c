"""What a feed published, beside what truly happened at the exchange."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

from levibot.bus.messages import Bar, BarCorrected, Book, Trades
from levibot.market.bars import MINUTE_MS
from tests.market_live.world import FeedWorld

_NEVER_MS = 2**62


@dataclass(frozen=True)
class Faithfulness:
    """How often something published differs from the truth; all 0 is perfect."""

    lost_bars: int = 0
    doubled_bars: int = 0
    wrong_bars: int = 0  # after the corrections that were published
    lost_trades: int = 0
    doubled_trades: int = 0
    made_up_trades: int = 0
    crossed_books: int = 0

    def __add__(self, other: Faithfulness) -> Faithfulness:
        return Faithfulness(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class Numbers(NamedTuple):
    """A bar's prices and its base volume."""

    open: float
    high: float
    low: float
    close: float
    volume: float

    def agrees(self, other: Numbers) -> bool:
        return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(self, other, strict=True))


def numbers(bar: Any) -> Numbers:
    """Of a message, or of the exchange."""
    return Numbers(*(float(getattr(bar, name)) for name in Numbers._fields))


def compare(world: FeedWorld, symbol: str, since_ms: int = 0, until_ms: int = _NEVER_MS) -> Faithfulness:
    """Bars of one symbol from `since_ms` up to `until_ms`, and its trades, market time, with the exchange's."""
    lost, doubled, wrong = _compare_bars(world, symbol, since_ms, until_ms)
    trades = [t for batch in world.listener.of(Trades, symbol) for t in batch.trades if t.event_ms >= since_ms]
    with_ids = world.exchange.dialect == "binance"
    heard: Counter[Hashable] = Counter(
        t.trade_id if with_ids else (t.event_ms, t.side, t.price, t.amount) for t in trades
    )
    span = range(min((t.event_ms for t in trades), default=0), max((t.event_ms for t in trades), default=0) + 1)
    happened: Counter[Hashable] = Counter(
        str(t.id) if with_ids else (t.time_ms, t.side, float(t.price), float(t.amount))
        for t in list(world.exchange.journal.trades[symbol])
        if t.time_ms in span
    )
    too_many = heard - happened
    return Faithfulness(
        lost,
        doubled,
        wrong,
        lost_trades=(happened - heard).total(),
        doubled_trades=sum(count for trade, count in too_many.items() if trade in happened),
        made_up_trades=sum(count for trade, count in too_many.items() if trade not in happened),
        crossed_books=sum(crossed(book) for book in world.listener.of(Book, symbol)),
    )


def compare_all(world: FeedWorld, since_ms: int = 0, until_ms: int = _NEVER_MS) -> Faithfulness:
    """All symbols together."""
    return sum((compare(world, symbol, since_ms, until_ms) for symbol in world.symbols), Faithfulness())


def crossed(book: Book) -> bool:
    """Whether someone bids as much as another asks."""
    return bool(book.bids and book.asks) and book.bids[0][0] >= book.asks[0][0]


def _compare_bars(world: FeedWorld, symbol: str, since_ms: int, until_ms: int) -> tuple[int, int, int]:
    bars = [bar for bar in world.listener.of(Bar, symbol) if since_ms <= bar.open_ms < until_ms]
    if not bars:
        return 0, 0, 0
    counts = Counter(bar.open_ms for bar in bars)
    told = {bar.open_ms: numbers(bar) for bar in bars}
    told |= {e.open_ms: numbers(e) for e in world.listener.events(symbol) if isinstance(e, BarCorrected)}
    truth = {bar.open_ms: numbers(bar) for bar in list(world.exchange.journal.bars[symbol])}
    wanted = set(range(min(counts), max(counts) + 1, MINUTE_MS))
    return (
        len(wanted - counts.keys()),
        sum(counts.values()) - len(counts) + _disorder(bars),
        sum(1 for open_ms in counts if open_ms in truth and not truth[open_ms].agrees(told[open_ms])),
    )


def _disorder(bars: Iterable[Bar]) -> int:
    opens = list(dict.fromkeys(bar.open_ms for bar in bars))
    return sum(1 for before, after in pairwise(opens) if after < before)
