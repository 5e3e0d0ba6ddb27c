"""Long while the fast moving average is above the slow one, short while it is below."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from levibot.bus.messages import Bar, Position
from levibot.market.rewind import Rewindable
from levibot.strategies.base import Signal

_SCALE = 10**12


class SmaCross:
    """Cross of two simple moving averages of closes; silent until the first cross.

    The sums are kept in integers: a running sum of floats drifts, and would see crosses where prices
    stand still and both averages are equal.

    Parameters
    ----------
    fast, slow
        Lengths of the two averages in bars, ``1 <= fast < slow``.

    Raises
    ------
    ValueError
        If the lengths are not in that order.
    """

    def __init__(self, fast: int = 10, slow: int = 30) -> None:
        if not all(type(length) is int for length in (fast, slow)) or not 1 <= fast < slow <= 10_000:
            raise ValueError(f"fast = {fast!r}, slow = {slow!r}: need whole numbers, 1 <= fast < slow <= 10000")
        self._slow = slow
        self._averages = Rewindable(_Averages(fast, slow), kept=slow)

    @property
    def warm_up_bars(self) -> int:
        """Bars until two averages can be compared with those before."""
        return self._slow + 1

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Learn from history."""
        for bar in bars:
            self._averages.add(bar.open_ms, bar.close)

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        """Side of the fast average, once it has crossed."""
        self._averages.add(bar.open_ms, bar.close)
        averages = self._averages.now
        if not averages.crossed:
            return None
        above = averages.side > 0
        return Signal("long" if above else "short", reason=f"fast average {'above' if above else 'below'} slow")

    def on_correction(self, bar: Bar) -> None:
        """Reckon as if this bar had been seen, if it is one of those in the slow average."""
        self._averages.replace(bar.open_ms, bar.close)


class _Averages:
    def __init__(self, fast: int, slow: int) -> None:
        self.side = 0  # of the fast average: 1 above the slow one, -1 below, 0 not known yet
        self.crossed = False
        self._fast = fast
        self._slow = slow
        self._closes: deque[int] = deque(maxlen=slow)
        self._fast_sum = 0
        self._slow_sum = 0

    def add(self, _open_ms: int, close: float) -> None:
        """Count the next close in."""
        closes = self._closes
        value = round(close * _SCALE)
        if len(closes) == self._slow:
            self._slow_sum -= closes[0]
        if len(closes) >= self._fast:
            self._fast_sum -= closes[-self._fast]
        closes.append(value)
        self._slow_sum += value
        self._fast_sum += value
        if len(closes) == self._slow:
            self._compare()

    def _compare(self) -> None:
        difference = self._fast_sum * self._slow - self._slow_sum * self._fast
        side = (difference > 0) - (difference < 0)
        if side and side != self.side:
            self.crossed = self.side != 0
            self.side = side
