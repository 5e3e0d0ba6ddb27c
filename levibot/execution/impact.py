"""What a large order does to the price, where there are bars but no order book."""

from __future__ import annotations

import math
from collections import deque

from levibot.bus.messages import Bar

BARS = 20
_PARKINSON = 4 * math.log(2)
_MOST = 0.5


class Impact:
    """Square-root law of market impact over the newest bars that have traded.

    A market order of Q base units moves the price against itself by

        Y · σ · √(Q / V)

    as a fraction, with V the mean volume of a bar and σ the volatility of a bar, by its range:
    σ² = mean(ln²(high / low)) / (4 ln 2). Both scale with the length of a bar so that the law does not depend on
    it. Y is of order 1: Almgren, Thum, Hauptmann and Li, "Direct estimation of equity market impact", Risk 18
    (2005); Tóth et al., "Anomalous price impact and the critical nature of liquidity in financial markets",
    Physical Review X 1 (2011). The range: Parkinson, Journal of Business 53 (1980).
    """

    def __init__(self) -> None:
        self._open_ms = -1
        self._bars: deque[tuple[float, float]] = deque(maxlen=BARS)  # volume, squared range

    def note(self, bar: Bar) -> None:
        """Take a closed bar in; one that is known, or in which nothing was traded, changes nothing."""
        if bar.open_ms <= self._open_ms or bar.synthetic or not (bar.volume > 0 and 0 < bar.low <= bar.high):
            return
        if math.isfinite(bar.volume) and math.isfinite(bar.high):
            self._open_ms = bar.open_ms
            self._bars.append((bar.volume, math.log(bar.high / bar.low) ** 2))

    def of(self, quantity: float, coefficient: float) -> float:
        """Fraction by which an order worsens its own price; 0 before the first bar, never more than a half.

        Parameters
        ----------
        quantity
            Base units.
        coefficient
            Y.
        """
        if not self._bars:
            return 0.0
        volume = math.fsum(volume for volume, _ in self._bars) / len(self._bars)
        variance = math.fsum(squared for _, squared in self._bars) / len(self._bars) / _PARKINSON
        return min(coefficient * math.sqrt(variance * quantity / volume), _MOST)
