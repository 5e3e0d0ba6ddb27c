"""The past of one symbol as arrays: its bars, and the features at each, by the code that serves."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.ml.features import FEATURES, FeatureWindow

Floats = NDArray[np.float64]
_REPORT_EVERY = 2000  # bars


class BarColumns(NamedTuple):
    """Closed bars of one symbol, oldest first; each array has shape (bars,)."""

    open_ms: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    synthetic: NDArray[np.bool_]


class History(NamedTuple):
    """Bars of one symbol, and the features of those that have any."""

    bars: BarColumns
    judged: NDArray[np.int64]  # shape (rows,): places of the bars that have features
    features: Floats  # shape (rows, number of features): at their closes


def read_history(items: Iterable[Candle | Hole], report: Callable[[int], None]) -> History:
    """Read bars and compute the features at each.

    Parameters
    ----------
    items
        Bars and the holes between them, oldest first, as `levibot.market.gaps.fill_gaps` gives them.
    report
        Told how many bars have been read since it was told last.
    """
    window = FeatureWindow()
    open_ms, judged, synthetic = array("q"), array("q"), array("b")
    opened, high, low, close, volume, features = (array("d") for _ in range(6))
    told = 0
    for item in items:
        if isinstance(item, Hole):  # the window sees it by the time of the next bar
            continue
        found = window.add(item)
        if found is not None:
            judged.append(len(open_ms))
            features.extend(found)
        open_ms.append(item.open_ms)
        opened.append(item.open)
        high.append(item.high)
        low.append(item.low)
        close.append(item.close)
        volume.append(item.volume)
        synthetic.append(item.synthetic)
        if len(open_ms) - told >= _REPORT_EVERY:
            report(len(open_ms) - told)
            told = len(open_ms)
    report(len(open_ms) - told)
    bars = BarColumns(
        np.array(open_ms, dtype=np.int64),
        np.array(opened, dtype=np.float64),
        np.array(high, dtype=np.float64),
        np.array(low, dtype=np.float64),
        np.array(close, dtype=np.float64),
        np.array(volume, dtype=np.float64),
        np.array(synthetic, dtype=np.bool_),
    )
    rows = np.array(features, dtype=np.float64).reshape(-1, len(FEATURES))
    return History(bars, np.array(judged, dtype=np.int64), rows)
