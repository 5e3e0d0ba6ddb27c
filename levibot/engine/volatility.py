"""Volatility from closed bars, as risk wants it: annualised, and unknown rather than wrong."""

from __future__ import annotations

import math

from levibot.bus.messages import Bar
from levibot.market.rewind import Rewindable

BAR_MS = 60_000
_MINUTES_PER_YEAR = 525_600
_HALF_LIFE = 60  # bars
_DECAY = 0.5 ** (1 / _HALF_LIFE)
_LEAST_RETURNS = 30
_CORRECTABLE = 60  # bars


class Volatility:
    """Exponentially weighted moving average of squared one-minute log returns, times √525 600.

    Synthetic bars, and the step over a hole, are left out: a price that only stands still because
    nothing was received would make the market look calm (RiskMetrics 1996 for the average).
    """

    def __init__(self) -> None:
        self._average = Rewindable(_SquaredReturns(), _CORRECTABLE)

    def add(self, bar: Bar) -> None:
        """Count one closed bar in."""
        self._average.add(bar.open_ms, _traded(bar))

    def correct(self, bar: Bar) -> None:
        """Count this bar instead of that of the same minute, if it is among the newest 60."""
        self._average.replace(bar.open_ms, _traded(bar))

    @property
    def annualised(self) -> float | None:
        """Standard deviation of a year's log return as a fraction; None until 30 returns are known."""
        average = self._average.now
        if average.returns < _LEAST_RETURNS:
            return None
        return math.sqrt(average.weighted / average.weights * _MINUTES_PER_YEAR)


class _SquaredReturns:
    def __init__(self) -> None:
        self.weighted = 0.0
        self.weights = 0.0
        self.returns = 0
        self._last_ms = 0
        self._last_close = 0.0

    def add(self, open_ms: int, close: float) -> None:
        """Count the return to this close in; 0: nothing was traded."""
        if not close > 0:
            self._last_close = 0.0
            return
        if self._last_close and open_ms - self._last_ms == BAR_MS:
            change = math.log(close / self._last_close)
            self.weighted = self.weighted * _DECAY + change * change
            self.weights = self.weights * _DECAY + 1.0
            self.returns += 1
        self._last_ms = open_ms
        self._last_close = close


def _traded(bar: Bar) -> float:
    return 0.0 if bar.synthetic else bar.close
