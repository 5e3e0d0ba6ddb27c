"""Which public trades were taken already: each counts once, however often it comes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from levibot.exchange.validation import PublicTrade

_FUTURE_MS = 60_000  # further ahead of the exchange's clock, a time is wrong
_WINDOW_MS = 120_000  # how late a trade may come and still be told from those that came before
_MOST_KEPT = 50_000  # trades; a busier market has a shorter window
_BUCKET_MS = 1_000
_SAME_MS = 5_000  # the times of one trade by stream and by request differ by less

_Key = str | tuple[int, str | None, float, float]


class TradeLog:
    """Exact deduplication of the trades of one symbol.

    A trade with an id is known by it. One without is known by time, side, price and amount, and by its place
    among those in its frame that share them: as frames repeat whole, the second of two alike is new only if
    one was seen before, not two. What is older than the window cannot be told from what came before it, and
    is refused.
    """

    def __init__(self) -> None:
        self.duplicates = 0
        self.late = 0  # older than the window
        self.refused = 0  # of the future, or no trades at all
        self.newest_ms: int | None = None
        self.floor_ms = 0  # nothing older is taken
        self._seen: dict[_Key, int] = {}  # times
        self._times_ms: dict[_Key, int] = {}  # of those with ids
        self._buckets: dict[int, list[_Key]] = {}  # the same by second, in order to forget them

    def begin(self, now_ms: int) -> None:
        """From now on trades are awaited; an exchange may begin with some of long ago."""
        self.floor_ms = max(self.floor_ms, now_ms - _WINDOW_MS)

    def take(self, trades: Sequence[PublicTrade], now_ms: int, *, repeated: bool = False) -> list[PublicTrade]:
        """Take one frame; return those of its trades that are new.

        Parameters
        ----------
        trades
            In the exchange's order.
        now_ms
            The exchange's time.
        repeated
            True for an answer that is to overlap with what is known: that is no trouble, and not counted.
        """
        new: list[PublicTrade] = []
        in_frame: dict[_Key, int] = {}
        for trade in trades:
            if trade.event_ms > now_ms + _FUTURE_MS or not _is_sound(trade):
                self.refused += 1
                continue
            if trade.event_ms < self.floor_ms:
                self.late += not repeated
                continue
            key = trade.id or trade[1:]
            occurrence = 1 if trade.id else in_frame.get(key, 0) + 1
            in_frame[key] = occurrence
            if trade.id and self._is_another(trade.id, trade.event_ms):
                self._drop(trade.id)
            seen = self._seen.get(key, 0)
            if occurrence <= seen:
                self.duplicates += not repeated
                continue
            self._seen[key] = occurrence
            if trade.id:
                self._times_ms[trade.id] = trade.event_ms
            if not seen:
                self._buckets.setdefault(trade.event_ms // _BUCKET_MS, []).append(key)
            new.append(trade)
            if self.newest_ms is None or trade.event_ms > self.newest_ms:
                self.newest_ms = trade.event_ms
        return new

    def forget(self, before_ms: int | None = None) -> None:
        """Let go of what is older than the window, but from `before_ms` on only if there is too much."""
        if self.newest_ms is None:
            return
        limit_ms = self.newest_ms - _WINDOW_MS
        if before_ms is not None:
            limit_ms = min(limit_ms, before_ms)
        while len(self._buckets) > 1:
            oldest = min(self._buckets)
            end_ms = (oldest + 1) * _BUCKET_MS
            if end_ms > limit_ms and len(self._seen) <= _MOST_KEPT:
                break
            for key in self._buckets.pop(oldest):
                del self._seen[key]
                self._times_ms.pop(key, None)
            self.floor_ms = max(self.floor_ms, end_ms)

    def _is_another(self, trade_id: str, event_ms: int) -> bool:
        """Whether an id is given again to another trade: an exchange that was reset counts anew."""
        known_ms = self._times_ms.get(trade_id)
        return known_ms is not None and event_ms > known_ms + _SAME_MS

    def _drop(self, trade_id: str) -> None:
        del self._seen[trade_id]
        self._buckets[self._times_ms.pop(trade_id) // _BUCKET_MS].remove(trade_id)


def _is_sound(trade: PublicTrade) -> bool:
    return 0 < trade.price < math.inf and 0 < trade.amount < math.inf
