"""Whether this clock and the exchange's still agree, by the times that frames carry."""

from __future__ import annotations

from collections.abc import Iterable

_AHEAD_MS = -500  # nothing can come before it happened
_BEHIND_MS = 2_000  # all symbols together: a line may be slow, or the clocks differ
_FIRST_NS, _LONGEST_NS = 5_000_000_000, 60_000_000_000  # between two measurements


class ClockWatch:
    """Says when the clocks should be compared before it is time: one of them may have been set."""

    def __init__(self) -> None:
        self._pause_ns = _FIRST_NS
        self._next_ns = 0

    def suspects(self, lags_ms: Iterable[int | None], now_ns: int) -> bool:
        """Whether to compare them now.

        Parameters
        ----------
        lags_ms
            Of the newest frame of each symbol: receipt, by what is held for the exchange's time, less the time
            that it carries. None: not known.
        now_ns
            CLOCK_BOOTTIME.
        """
        known = [lag for lag in lags_ms if lag is not None]
        if not known or _AHEAD_MS <= min(known) <= _BEHIND_MS:
            if now_ns > self._next_ns:
                self._pause_ns = _FIRST_NS
            return False
        if now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_NS)
        return True
