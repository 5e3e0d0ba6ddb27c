"""How easy it was to trade in a minute: spread and depth, as means over what was published in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from levibot.market.bars import MINUTE_MS

BEST_LEVELS = 5  # of each side of a book: further off, what one sees depends on how deep an exchange shows it
_KEPT = 60  # minutes whose bars may still come

Levels = Sequence[tuple[float, float]]


class Liquidity:
    """Spread and imbalance of the newest minutes of one symbol.

    Ticks and books count as they are published, each once, in the minute of their event time: so whoever gets
    them finds the same means, and the rate at which the exchange sends makes no difference.
    """

    def __init__(self) -> None:
        self._minutes: dict[int, _Sums] = {}  # by opening time, oldest first

    def quote(self, event_ms: int, bid: float, ask: float) -> None:
        """Take a tick that is published."""
        sums = self._at(event_ms)
        sums.spread += (ask - bid) / (ask + bid) * 2
        sums.quotes += 1

    def book(self, event_ms: int, bids: Levels, asks: Levels) -> None:
        """Take an order book that is published; one without a level says nothing."""
        if bids or asks:
            sums = self._at(event_ms)
            sums.imbalance += imbalance(bids, asks)
            sums.books += 1

    def of(self, open_ms: int) -> tuple[float, float]:
        """Mean spread and mean imbalance of the minute from `open_ms` on; NaN where nothing was published."""
        sums = self._minutes.get(open_ms)
        if sums is None:
            return math.nan, math.nan
        return (
            sums.spread / sums.quotes if sums.quotes else math.nan,
            sums.imbalance / sums.books if sums.books else math.nan,
        )

    def _at(self, event_ms: int) -> _Sums:
        open_ms = event_ms - event_ms % MINUTE_MS
        sums = self._minutes.get(open_ms)
        if sums is None:
            sums = self._minutes[open_ms] = _Sums()
            if len(self._minutes) > _KEPT:
                del self._minutes[next(iter(self._minutes))]
        return sums


class _Sums:
    __slots__ = ("books", "imbalance", "quotes", "spread")

    def __init__(self) -> None:
        self.spread = self.imbalance = 0.0
        self.quotes = self.books = 0


def imbalance(bids: Levels, asks: Levels) -> float:
    """(bid depth - ask depth) / their sum over the best levels, -1 to 1; depth is base amount.

    Parameters
    ----------
    bids, asks
        Best first, not both empty; amounts above 0.
    """
    bid = sum([amount for _, amount in bids[:BEST_LEVELS]])
    ask = sum([amount for _, amount in asks[:BEST_LEVELS]])
    return (bid - ask) / (bid + ask)
