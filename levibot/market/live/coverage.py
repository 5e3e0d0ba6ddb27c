"""Of which stretch of the exchange's time all trades are known."""

from __future__ import annotations

_REORDER_MS = 1_000  # a trade that is this much older than the newest may still have been on its way
_SURELY_SHOWN_NS = 15_000_000_000  # no answer is behind by so much; what it lacks then, requests never show


class Coverage:
    """One symbol: complete from some time on, and perhaps broken at a later one.

    A break is closed by the exchange's newest trades, asked for after the streams were there again. If they
    reach back to what was known before, nothing is missing; if not, all is known only from the oldest of them.
    """

    def __init__(self) -> None:
        self.from_ms: int | None = None  # all trades are known from here on; None: nothing is sure yet
        self.broken_ms: int | None = None  # from here on, something may be missing; None: nothing is
        self.breaks = 0  # of those after the first trades were sure
        self._listening = False
        self._since_ns = 0  # what was asked before this does not close the break
        self._reach_ms: int | None = None  # nor does an answer that ends before what the streams have brought
        self._resumed = False

    @property
    def wants_trades(self) -> bool:
        """Whether the exchange's newest trades would close a break now."""
        return self._listening and self.broken_ms is not None

    def interrupt(self, from_ms: int, newest_ms: int | None, now_ns: int) -> None:
        """Something may be missing.

        Parameters
        ----------
        from_ms
            Event time of the last trade before it.
        newest_ms
            Event time of the newest trade that is known.
        now_ns
            CLOCK_BOOTTIME.
        """
        from_ms -= _REORDER_MS
        if self.broken_ms is None:
            self.breaks += self.from_ms is not None
            self.broken_ms = from_ms
        else:
            self.broken_ms = min(self.broken_ms, from_ms)
        self._since_ns = now_ns
        self._reach_ms = newest_ms
        self._resumed = False

    def lose(self, newest_ms: int | None, now_ms: int, now_ns: int) -> None:
        """The streams are interrupted, at the exchange's time `now_ms`."""
        self.interrupt(now_ms if newest_ms is None else min(newest_ms, now_ms), newest_ms, now_ns)
        self._listening = False

    def listen(self, newest_ms: int | None, now_ms: int, now_ns: int) -> None:
        """The streams are there: from now on they bring every trade."""
        self.lose(newest_ms, now_ms, now_ns)
        self._listening = True

    def resume(self, event_ms: int) -> None:
        """The streams have brought a new trade."""
        if self.wants_trades and not self._resumed:
            self._reach_ms = max(event_ms, self._reach_ms or 0)
            self._resumed = True

    def close(
        self, oldest_ms: int | None, newest_ms: int | None, asked_ns: int, suspect_from_ms: int | None
    ) -> bool:
        """The exchange's newest trades have come; tell whether they settle what is missing.

        Parameters
        ----------
        oldest_ms, newest_ms
            Event times of the first and last of them; None: the exchange has none at all.
        asked_ns
            CLOCK_BOOTTIME when they were asked for.
        suspect_from_ms
            Event time from which single trades were skipped before they came; None if none were.
        """
        if self.broken_ms is None or not self._listening or asked_ns < self._since_ns:
            return False
        is_behind = self._reach_ms is not None and (newest_ms is None or newest_ms < self._reach_ms)
        if is_behind and (newest_ms is None or asked_ns - self._since_ns < _SURELY_SHOWN_NS):
            return False
        if oldest_ms is None:
            self.from_ms = self.broken_ms if self.from_ms is None else self.from_ms
        elif self.from_ms is None or oldest_ms >= min(self.broken_ms, suspect_from_ms or self.broken_ms):
            self.from_ms = oldest_ms + 1  # the answer may begin in the midst of a millisecond
        self.broken_ms = None
        return True

    def is_whole(self, open_ms: int, close_ms: int, suspect_from_ms: int | None) -> bool:
        """Whether all trades of a stretch of time are known, if one may be missing from `suspect_from_ms` on."""
        if self.from_ms is None or open_ms < self.from_ms:
            return False
        return all(at is None or close_ms <= at for at in (self.broken_ms, suspect_from_ms))
