"""What a model sees of one symbol: numbers from its newest closed bars, the same in training and serving.

Everything is computed in logarithms of prices over the last `WINDOW` bars and from nothing older. So a
restart gives identical numbers, no price is too large, and symbols of different price compare.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import fsum
from operator import mul

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Ohlcv

_VERSION = 1  # count up when any formula changes: models trained on the old one must not be asked
_LONG = 60  # bars; the longest horizon of any feature
WINDOW = _LONG + 1  # bars needed: a return spans two
MOST_SYNTHETIC = 6  # bars in a window that may have been made up to fill a gap

_RETURNS = (1, 2, 5, 10, 20, 30, 60)
_GAPS = (10, 30, 60)
_BAND = 20  # bars of the Bollinger band
_BAND_WIDTH = 2.0  # standard deviations on each side
_RSI = _ATR = 14
_MACD = (12, 26, 9)
_SHORT_VOLATILITY = 10
_SHORT_VOLUME = 5
_DAY_MS = 86_400_000

FEATURES: tuple[str, ...] = (
    *(f"return_{bars}" for bars in _RETURNS),
    *(f"gap_{bars}" for bars in _GAPS),
    "volatility_60",
    "volatility_ratio_10_60",
    "volume_z_60",
    "volume_ratio_5_60",
    "rsi_14",
    "macd_12_26",
    "macd_histogram_9",
    "atr_14",
    "band_position_20",
    "band_width_20",
    "range_position_60",
    "body",
    "close_location",
    "time_sine",
    "time_cosine",
)


def _identity() -> str:
    digest = hashlib.sha256("\n".join((str(WINDOW), *FEATURES)).encode()).hexdigest()
    return f"bars-{_VERSION}-{digest[:8]}"


FEATURE_SET: str = _identity()
FEATURE_VERSIONS: dict[str, int] = dict.fromkeys(FEATURES, _VERSION)


class FeatureWindow:
    """The newest bars of one symbol, and the features at each.

    Feed it every closed bar, oldest first. A minute that is missing empties it.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._close: list[float] = []  # logarithms of prices
        self._high: list[float] = []
        self._low: list[float] = []
        self._change: list[float] = []  # log return to each bar from the one before
        self._true_range: list[float] = []
        self._volume: list[float] = []
        self._synthetic: list[bool] = []

    def add(self, bar: Ohlcv) -> tuple[float, ...] | None:
        """Take a closed bar in; the features at its close, in the order of `FEATURES`.

        Returns
        -------
        tuple of float or None
            Finite numbers. None while fewer than `WINDOW` bars without a hole are known, where the bar or
            more than `MOST_SYNTHETIC` of the window are synthetic, and for a bar that is not newer.

        Raises
        ------
        MarketDataError
            If the bar is none: a price that is not positive or not finite, or outside its low and high, or
            a volume below 0. The window is empty then.
        """
        if self._last_ms is not None and bar.open_ms <= self._last_ms:
            return None
        if not _is_sound(bar):
            self._clear()
            raise MarketDataError(f"{bar!r:.300} is no bar; expected finite prices, 0 < low ≤ open, close ≤ high")
        if self._last_ms is not None and bar.open_ms != self._last_ms + MINUTE_MS:
            self._clear()
        self._append(bar)
        if len(self._close) < WINDOW or bar.synthetic or sum(self._synthetic[-WINDOW:]) > MOST_SYNTHETIC:
            return None
        return self._features(bar)

    def replace(self, bar: Ohlcv) -> None:
        """Put a bar in the place of that of the same minute; one that is not in the window changes nothing.

        Raises
        ------
        MarketDataError
            If it is none, as of `add`. The window is empty then.
        """
        if self._last_ms is None:
            return
        bars_ago, off = divmod(self._last_ms - bar.open_ms, MINUTE_MS)
        index = len(self._close) - 1 - bars_ago
        if off or not 0 <= index < len(self._close):
            return
        if not _is_sound(bar):
            self._clear()
            raise MarketDataError(f"{bar!r:.300} is no bar; expected finite prices, 0 < low ≤ open, close ≤ high")
        self._high[index], self._low[index] = math.log(bar.high), math.log(bar.low)
        self._close[index] = math.log(bar.close)
        self._volume[index] = bar.volume
        self._synthetic[index] = bar.synthetic
        for changed in range(index, min(index + 2, len(self._close))):
            self._link(changed)

    def _clear(self) -> None:
        self._last_ms = None
        for column in self._columns():
            column.clear()

    def _append(self, bar: Ohlcv) -> None:
        self._last_ms = bar.open_ms
        self._close.append(math.log(bar.close))
        self._high.append(math.log(bar.high))
        self._low.append(math.log(bar.low))
        self._change.append(0.0)
        self._true_range.append(0.0)
        self._link(len(self._close) - 1)
        self._volume.append(bar.volume)
        self._synthetic.append(bar.synthetic)
        if len(self._close) >= 2 * WINDOW:
            for column in self._columns():
                del column[:-WINDOW]

    def _link(self, index: int) -> None:
        """Reckon what a bar has of the one before; of the first in the window nobody asks for it."""
        close, high, low = self._close[index], self._high[index], self._low[index]
        before = self._close[index - 1] if index else close
        self._change[index] = close - before
        self._true_range[index] = max(high, before) - min(low, before)

    def _columns(self) -> tuple[list[float] | list[bool], ...]:
        return (
            self._close,
            self._high,
            self._low,
            self._change,
            self._true_range,
            self._volume,
            self._synthetic,
        )

    def _features(self, bar: Ohlcv) -> tuple[float, ...]:
        closes = self._close
        close = closes[-1]
        changes = self._change[-_LONG:]
        squares = [change * change for change in changes]
        away = [past - close for past in closes[-_LONG:]]  # exactly 0 where the price stands still
        short = math.sqrt(fsum(squares[-_SHORT_VOLATILITY:]) / _SHORT_VOLATILITY)
        long = math.sqrt(fsum(squares) / _LONG)
        angle = bar.open_ms % _DAY_MS * (2 * math.pi / _DAY_MS)
        return (
            *[close - closes[-1 - bars] for bars in _RETURNS],
            *[-fsum(away[-bars:]) / bars for bars in _GAPS],
            long,
            short / long if long else 1.0,
            *_volume_features(self._volume[-_LONG:]),
            _relative_strength(changes[-_RSI:]),
            fsum(map(mul, _MACD_WEIGHTS, changes)),
            fsum(map(mul, _HISTOGRAM_WEIGHTS, changes)),
            fsum(self._true_range[-_ATR:]) / _ATR,
            *_band(away[-_BAND:]),
            _location(close, max(self._high[-_LONG:]), min(self._low[-_LONG:])),
            *_shape(bar, self._high[-1], self._low[-1], close),
            math.sin(angle),
            math.cos(angle),
        )


def _is_sound(bar: Ohlcv) -> bool:
    low, high = bar.low, bar.high
    # a NaN makes the chain false
    return 0 < low <= bar.open <= high < math.inf and low <= bar.close <= high and 0 <= bar.volume < math.inf


def _volume_features(volumes: list[float]) -> tuple[float, float]:
    """z-score of the newest volume, and the mean of the newest few over the mean of all."""
    largest = max(volumes)
    if not largest:
        return 0.0, 1.0
    shares = [volume / largest for volume in volumes]  # so that no sum overflows
    mean = fsum(shares) / _LONG
    deviation = math.sqrt(fsum([(share - mean) ** 2 for share in shares]) / _LONG)
    score = (shares[-1] - mean) / deviation if deviation else 0.0
    return score, fsum(shares[-_SHORT_VOLUME:]) / _SHORT_VOLUME / mean


def _relative_strength(changes: list[float]) -> float:
    """Share of the gains in all movement, -.5 to .5: Cutler's RSI, whose averages are plain (RSI/100 − ½)."""
    movement = fsum(map(abs, changes))
    return fsum(changes) / movement / 2 if movement else 0.0


def _band(away: list[float]) -> tuple[float, float]:
    """Where the newest price lies in its Bollinger band (-1 and 1 are the edges), and the band's width."""
    mean = fsum(away) / _BAND
    deviation = math.sqrt(fsum([(value - mean) ** 2 for value in away]) / _BAND)
    edge = _BAND_WIDTH * deviation
    return (-mean / edge if edge else 0.0), 2 * edge


def _location(value: float, high: float, low: float) -> float:
    """Where `value` lies between `low` (-.5) and `high` (.5)."""
    return (value - low) / (high - low) - 0.5 if high > low else 0.0


def _shape(bar: Ohlcv, high: float, low: float, close: float) -> tuple[float, float]:
    """Body of the newest bar as a signed share of its range, and where its close lies in it."""
    if high == low:
        return 0.0, 0.0
    return (close - math.log(bar.open)) / (high - low), _location(close, high, low)


def _filter_weights(average: Callable[[Sequence[float]], float]) -> tuple[float, ...]:
    """Weights on the last `_LONG` log returns, oldest first, of something linear in log prices.

    A return moves all prices from its bar on. So its weight is what `average` gives for a step there.
    """
    steps = ([0.0] * index + [1.0] * (WINDOW - index) for index in range(1, WINDOW))
    return tuple(average(step) for step in steps)


def _exponential(values: Sequence[float], bars: int) -> list[float]:
    """Exponential moving average, begun at the first value."""
    share = 2 / (bars + 1)
    return list(accumulate(values, lambda mean, value: mean + share * (value - mean)))


def _macd(values: Sequence[float]) -> list[float]:
    fast, slow, _ = _MACD
    return [a - b for a, b in zip(_exponential(values, fast), _exponential(values, slow), strict=True)]


def _histogram(values: Sequence[float]) -> float:
    line = _macd(values)
    return line[-1] - _exponential(line, _MACD[2])[-1]


_MACD_WEIGHTS = _filter_weights(lambda values: _macd(values)[-1])
_HISTOGRAM_WEIGHTS = _filter_weights(_histogram)
