"""Formulas on the newest values of a window, in plain Python: `vectorised` has the same for arrays.

Prices are logarithms. Where a sum would be 0/0, because nothing has moved or nothing was traded, there is a
number that says so, and it is the same in both forms, to the last bit of the comparison that chooses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import fsum
from operator import mul, sub

from levibot.market.bars import Ohlcv
from levibot.ml.features.registry import (
    BAND,
    BAND_WIDTH,
    LONG,
    MACD,
    SHORT_VOLATILITY,
    SHORT_VOLUME,
)

DAY_MS = 86_400_000


def is_sound(bar: Ohlcv) -> bool:
    """Whether it is a bar: finite prices, 0 < low ≤ open, close ≤ high, and a finite volume, 0 or more."""
    low, high = bar.low, bar.high
    # a NaN makes the chain false
    return 0 < low <= bar.open <= high < math.inf and low <= bar.close <= high and 0 <= bar.volume < math.inf


def volatilities(changes: Sequence[float]) -> tuple[float, float]:
    """Root mean square of the last `LONG` changes, and that of the newest few over it."""
    squares = list(map(mul, changes, changes))
    long = math.sqrt(fsum(squares) / LONG)
    if not long:
        return 0.0, 1.0
    return long, math.sqrt(fsum(squares[-SHORT_VOLATILITY:]) / SHORT_VOLATILITY) / long


def volume_features(
    volumes: Sequence[float], typical: Sequence[float], close: float
) -> tuple[float, float, float]:
    """z-score of the newest volume, mean of the newest few over that of all, and the gap to the VWAP."""
    largest = max(volumes)
    if not largest:
        return 0.0, 1.0, 0.0
    shares = [volume / largest for volume in volumes]  # so that no sum overflows
    total = fsum(shares)
    mean = total / LONG
    deviation = math.sqrt(fsum([(share - mean) ** 2 for share in shares]) / LONG)
    score = (shares[-1] - mean) / deviation if deviation else 0.0
    away = fsum([share * (price - close) for share, price in zip(shares, typical, strict=True)])
    return score, fsum(shares[-SHORT_VOLUME:]) / SHORT_VOLUME / mean, -away / total


def relative_strength(changes: Sequence[float]) -> float:
    """Share of the gains in all movement, -.5 to .5: Cutler's RSI, whose averages are plain (RSI/100 − ½)."""
    movement = fsum(map(abs, changes))
    return fsum(changes) / movement / 2 if movement else 0.0


def band(away: Sequence[float]) -> tuple[float, float]:
    """Where the newest price lies in its Bollinger band (-1 and 1 are the edges), and the band's width."""
    mean = fsum(away) / BAND
    deviation = math.sqrt(fsum([(value - mean) ** 2 for value in away]) / BAND)
    edge = BAND_WIDTH * deviation
    return (-mean / edge if edge else 0.0), 2 * edge


def location(value: float, high: float, low: float) -> float:
    """Where `value` lies between `low` (-.5) and `high` (.5)."""
    return (value - low) / (high - low) - 0.5 if high > low else 0.0


def time_of_day(open_ms: int) -> tuple[float, float]:
    """Sine and cosine of the time of day."""
    angle = open_ms % DAY_MS * (2 * math.pi / DAY_MS)
    return math.sin(angle), math.cos(angle)


def book_and_flow(bars: Sequence[Ohlcv]) -> tuple[float, float, float, float, float]:
    """Features of the groups ``book`` and ``flow`` at the newest of the last few bars."""
    bar = bars[-1]
    return (
        bar.spread if 0 <= bar.spread < math.inf else math.nan,
        bar.imbalance if -1 <= bar.imbalance <= 1 else math.nan,
        _flow(bars[-1:]),
        _flow(bars),
        math.log1p(bar.trades) if 0 <= bar.trades < math.inf else math.nan,
    )


def _flow(bars: Sequence[Ohlcv]) -> float:
    """(bought − sold) / traded; NaN where nothing was traded, or it is not known who was the taker."""
    largest = max([bar.volume for bar in bars])
    if not largest:
        return math.nan
    bought = traded = 0.0
    for bar in bars:
        if not bar.volume:  # nobody bought
            continue
        if not 0 <= bar.buy_volume < math.inf:
            return math.nan
        bought += min(bar.buy_volume, bar.volume) / largest
        traded += bar.volume / largest
    return 2 * bought / traded - 1


def differences(values: Sequence[float]) -> list[float]:
    """Each value but the first, less the one before."""
    return list(map(sub, values[1:], values))


def _filter_weights(average: Callable[[Sequence[float]], float]) -> tuple[float, ...]:
    """Weights on the last `LONG` log returns, oldest first, of something linear in log prices.

    A return moves all prices from its bar on. So its weight is what `average` gives for a step there.
    """
    steps = ([0.0] * index + [1.0] * (LONG + 1 - index) for index in range(1, LONG + 1))
    return tuple(average(step) for step in steps)


def _exponential(values: Sequence[float], bars: int) -> list[float]:
    """Exponential moving average, begun at the first value."""
    share = 2 / (bars + 1)
    return list(accumulate(values, lambda mean, value: mean + share * (value - mean)))


def _macd(values: Sequence[float]) -> list[float]:
    fast, slow, _ = MACD
    return [a - b for a, b in zip(_exponential(values, fast), _exponential(values, slow), strict=True)]


def _histogram(values: Sequence[float]) -> float:
    line = _macd(values)
    return line[-1] - _exponential(line, MACD[2])[-1]


# TA-Lib's MACD, like its RSI and ATR, depends on all bars since the first: not the same after a restart.
MACD_WEIGHTS = _filter_weights(lambda values: _macd(values)[-1])
HISTOGRAM_WEIGHTS = _filter_weights(_histogram)
