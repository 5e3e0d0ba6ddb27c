"""Volatility from closed bars, as risk wants it: annualised, and unknown rather than wrong."""

from __future__ import annotations

import math

from levibot.bus.messages import Bar

BAR_MS = 60_000
_MINUTES_PER_YEAR = 525_600
_HALF_LIFE = 60  # bars
_LEAST_RETURNS = 30


class Volatility:
    """Exponentially weighted moving average of squared one-minute log returns, times √525 600.

    Synthetic bars, and the step over a hole, are left out: a price that only stands still because
    nothing was received would make the market look calm (RiskMetrics 1996 for the average).
    """

    def __init__(self) -> None:
        self._decay = 0.5 ** (1 / _HALF_LIFE)
        self._weighted = 0.0
        self._weights = 0.0
        self._returns = 0
        self._last_ms = 0
        self._last_close = 0.0

    def add(self, bar: Bar) -> None:
        """Count one closed bar in."""
        if bar.synthetic or not bar.close > 0:
            self._last_close = 0.0
            return
        if self._last_close and bar.open_ms - self._last_ms == BAR_MS:
            change = math.log(bar.close / self._last_close)
            self._weighted = self._weighted * self._decay + change * change
            self._weights = self._weights * self._decay + 1.0
            self._returns += 1
        self._last_ms = bar.open_ms
        self._last_close = bar.close

    @property
    def annualised(self) -> float | None:
        """Standard deviation of a year's log return as a fraction; None until 30 returns are known."""
        if self._returns < _LEAST_RETURNS:
            return None
        return math.sqrt(self._weighted / self._weights * _MINUTES_PER_YEAR)
