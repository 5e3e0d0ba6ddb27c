"""The truth to compare against: every trade, closed bar and book sequence, whether or not anyone was told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.exchange.model import Bar, BookChange, Trade, text


@dataclass(frozen=True)
class BookSequence:
    first_id: int
    last_id: int
    time_ms: int


@dataclass
class Journal:
    """Ground truth by symbol, in the order in which it happened."""

    trades: dict[str, list[Trade]] = field(default_factory=lambda: defaultdict(list))
    bars: dict[str, list[Bar]] = field(default_factory=lambda: defaultdict(list))
    books: dict[str, list[BookSequence]] = field(default_factory=lambda: defaultdict(list))

    def book(self, change: BookChange) -> None:
        self.books[change.symbol].append(BookSequence(change.first_id, change.last_id, change.time_ms))

    def as_json(self, symbol: str) -> dict[str, Any]:
        """One symbol's truth, decimals as text."""
        return {
            "trades": [
                {**asdict(trade), "price": text(trade.price), "amount": text(trade.amount)}
                for trade in self.trades[symbol]
            ],
            "bars": [
                [bar.open_ms, *(text(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume))]
                for bar in self.bars[symbol]
            ],
            "books": [asdict(sequence) for sequence in self.books[symbol]],
        }
