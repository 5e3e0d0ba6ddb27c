"""The incremental form, for engines: features of one symbol, bar by bar, in plain Python."""

from __future__ import annotations

import math
import struct
from math import fsum
from operator import mul

from levibot.bus.messages import AltData
from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Ohlcv
from levibot.ml.features.altdata import AltValues
from levibot.ml.features.context import ContextBars
from levibot.ml.features.formulas import (
    HISTOGRAM_WEIGHTS,
    MACD_WEIGHTS,
    band,
    book_and_flow,
    is_sound,
    location,
    relative_strength,
    time_of_day,
    volatilities,
    volume_features,
)
from levibot.ml.features.registry import (
    ATR,
    BAND,
    FEATURES,
    GAPS,
    LONG,
    MOST_SYNTHETIC,
    RELATIVE_RETURNS,
    RETURNS,
    RSI,
    SHORT_FLOW,
    WINDOW,
)

_ROW = struct.Struct(f"<{len(FEATURES)}d")


class FeatureWindow:
    """The newest bars of one symbol, and the features at each.

    Feed it every closed bar, oldest first. A minute that is missing empties it. Bars of the leading market
    and alternative data may come before or after: without them their features are NaN.

    Parameters
    ----------
    steps
        Bars of a `sequence`.
    """

    def __init__(self, steps: int = 1) -> None:
        self._steps = steps
        self._kept = WINDOW + steps - 1
        self._bars: list[Ohlcv] = []
        self._close: list[float] = []  # logarithms of prices
        self._high: list[float] = []
        self._low: list[float] = []
        self._typical: list[float] = []
        self._change: list[float] = []  # log return to each bar from the one before
        self._true_range: list[float] = []
        self._volume: list[float] = []
        self._synthetic: list[bool] = []
        self._context = ContextBars(2 * self._kept)
        self._altdata = AltValues()
        self._packed: dict[int, bytes] = {}  # rows of a sequence, by opening time; empty: the bar has none

    def add(self, bar: Ohlcv) -> tuple[float, ...] | None:
        """Take a closed bar in; the features at its close, in the order of `FEATURES`.

        Returns
        -------
        tuple of float or None
            Finite numbers; NaN where a feature of an optional group is missing. None while fewer than
            `WINDOW` bars without a hole are known, where the bar or more than `MOST_SYNTHETIC` of the window
            are synthetic, and for a bar that is not newer.

        Raises
        ------
        MarketDataError
            If the bar is none: a price that is not positive or not finite, or outside its low and high, or
            a volume below 0. The window is empty then.
        """
        last_ms = self._bars[-1].open_ms if self._bars else None
        if last_ms is not None and bar.open_ms <= last_ms:
            return None
        self._check(bar)
        if last_ms is not None and bar.open_ms != last_ms + MINUTE_MS:
            self._clear()
        self._append(bar)
        features = self._features(len(self._bars) - 1)
        if self._steps > 1:
            self._packed[bar.open_ms] = _pack(features)
        return features

    def replace(self, bar: Ohlcv) -> None:
        """Put a bar in the place of that of the same minute; one that is not in the window changes nothing.

        Raises
        ------
        MarketDataError
            If it is none, as of `add`. The window is empty then.
        """
        if not self._bars:
            return
        index, off = divmod(bar.open_ms - self._bars[0].open_ms, MINUTE_MS)
        if off or not 0 <= index < len(self._bars):
            return
        self._check(bar)
        self._put(index, bar)
        for changed in range(index, min(index + 2, len(self._bars))):
            self._link(changed)
        self._forget_rows(bar.open_ms)

    def add_context(self, bar: Ohlcv) -> None:
        """Take a closed bar of the leading market in, or its correction.

        It counts from the next minute on. The leading market itself is its own context: its bars go here too.

        Raises
        ------
        MarketDataError
            If it is none, as of `add`; its minute is missing from the context then.
        """
        self._forget_rows(bar.open_ms + MINUTE_MS)
        self._context.add(bar)

    def add_altdata(self, data: AltData) -> None:
        """Take a value of the symbol's base asset, or of the whole market, in; one that is no feature is left."""
        if self._altdata.add(data):
            self._forget_rows(data.fetched_ms)

    @property
    def sequence(self) -> bytes:
        """Features at the newest `steps` bars, oldest first: float64, little-endian, one bar after the other.

        Empty where there is one among these bars without features.
        """
        if len(self._bars) < self._kept:
            return b""
        rows = []
        for index in range(len(self._bars) - self._steps, len(self._bars)):
            open_ms = self._bars[index].open_ms
            row = self._packed.get(open_ms)
            if row is None:
                row = self._packed[open_ms] = _pack(self._features(index))
            if not row:
                return b""
            rows.append(row)
        return b"".join(rows)

    def _check(self, bar: Ohlcv) -> None:
        if not is_sound(bar):
            self._clear()
            raise MarketDataError(f"{bar!r:.300} is no bar; expected finite prices, 0 < low ≤ open, close ≤ high")

    def _clear(self) -> None:
        for column in self._columns():
            column.clear()
        self._packed.clear()

    def _append(self, bar: Ohlcv) -> None:
        if len(self._bars) >= self._kept + WINDOW:
            for column in self._columns():
                del column[: -self._kept]
            first_ms = self._bars[0].open_ms
            self._altdata.forget_before(first_ms)
            self._packed = {ms: row for ms, row in self._packed.items() if ms >= first_ms}
        self._bars.append(bar)
        self._synthetic.append(bar.synthetic)
        for column in self._numbers():
            column.append(0.0)
        self._put(len(self._bars) - 1, bar)
        self._link(len(self._bars) - 1)

    def _put(self, index: int, bar: Ohlcv) -> None:
        high, low, close = math.log(bar.high), math.log(bar.low), math.log(bar.close)
        self._bars[index] = bar
        self._high[index], self._low[index], self._close[index] = high, low, close
        self._typical[index] = (high + low + close) / 3
        self._volume[index] = bar.volume
        self._synthetic[index] = bar.synthetic

    def _link(self, index: int) -> None:
        """Reckon what a bar has of the one before; of the first in the window nobody asks for it."""
        close, high, low = self._close[index], self._high[index], self._low[index]
        before = self._close[index - 1] if index else close
        self._change[index] = close - before
        self._true_range[index] = max(high, before) - min(low, before)

    def _forget_rows(self, from_ms: int) -> None:
        """Have those of a sequence computed anew that something has changed for."""
        for open_ms in [open_ms for open_ms in self._packed if open_ms >= from_ms]:
            del self._packed[open_ms]

    def _numbers(self) -> tuple[list[float], ...]:
        return (
            self._close,
            self._high,
            self._low,
            self._typical,
            self._change,
            self._true_range,
            self._volume,
        )

    def _columns(self) -> tuple[list[Ohlcv] | list[bool] | list[float], ...]:
        return (self._bars, self._synthetic, *self._numbers())

    def _features(self, index: int) -> tuple[float, ...] | None:
        """Features at the bar at `index`, if it has any."""
        end = index + 1
        synthetic = self._synthetic[max(0, end - WINDOW) : end]
        made_up = sum(synthetic)
        if len(synthetic) < WINDOW or synthetic[-1] or made_up > MOST_SYNTHETIC:
            return None
        open_ms = self._bars[index].open_ms
        before = self._close[index - 1]
        own_returns = tuple([before - self._close[index - 1 - bars] for bars in RELATIVE_RETURNS])
        return (
            *self._bar_features(index),
            made_up / WINDOW,
            *self._context.features(open_ms, own_returns),
            *book_and_flow(self._bars[end - SHORT_FLOW : end]),
            *self._altdata.features(open_ms),
        )

    def _bar_features(self, index: int) -> tuple[float, ...]:
        end, start = index + 1, index + 1 - LONG
        bar, close, high, low = self._bars[index], self._close[index], self._high[index], self._low[index]
        changes = self._change[start:end]
        away = [past - close for past in self._close[start:end]]  # exactly 0 where the price stands still
        true_range = fsum(self._true_range[end - ATR : end]) / ATR
        score, volume_ratio, vwap_gap = volume_features(self._volume[start:end], self._typical[start:end], close)
        return (
            *[close - self._close[index - bars] for bars in RETURNS],
            *[-fsum(away[-bars:]) / bars for bars in GAPS],
            *volatilities(changes),
            score,
            volume_ratio,
            relative_strength(changes[-RSI:]),
            fsum(map(mul, MACD_WEIGHTS, changes)),
            fsum(map(mul, HISTOGRAM_WEIGHTS, changes)),
            true_range,
            *band(away[-BAND:]),
            location(close, max(self._high[start:end]), min(self._low[start:end])),
            (close - math.log(bar.open)) / (high - low) if high > low else 0.0,
            location(close, high, low),
            *time_of_day(bar.open_ms),
            self._true_range[index] / true_range if true_range else 1.0,
            vwap_gap,
        )


def _pack(features: tuple[float, ...] | None) -> bytes:
    return b"" if features is None else _ROW.pack(*features)
