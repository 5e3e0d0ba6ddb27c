"""The past of symbols as arrays: their bars, and the features at each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.bus.messages import AltData
from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.ml.features import FEATURES

if TYPE_CHECKING:
    import polars as pl

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


class Source(NamedTuple):
    """What the features of one symbol are made from; as `levibot.ml.features.vectorised.feature_frame`."""

    bars: pl.DataFrame  # of `BAR_SCHEMA`, oldest first
    context: pl.DataFrame | None = None  # of the leading market
    altdata: Sequence[AltData] = ()  # of the base asset, and of the whole market


class History(NamedTuple):
    """Bars of one symbol, and the features of those that have any."""

    bars: BarColumns
    judged: NDArray[np.int64]  # shape (rows,): places of the bars that have features
    features: Floats  # shape (rows, number of features): at their closes; NaN: missing
    source: Source | None = None  # what they were made from; None: of a store, which keeps no more than these


def history_of(source: Source) -> History:
    """Compute the features at each bar.

    Raises
    ------
    MarketDataError
        If a bar is none, or bars are not in order of time.
    """
    from levibot.ml.features.vectorised import feature_frame  # polars and TA-Lib are none of the pool's business

    bars = source.bars
    rows = feature_frame(*source)
    columns = BarColumns(*(bars[name].to_numpy() for name in BarColumns._fields))
    judged = np.searchsorted(columns.open_ms, rows["open_ms"].to_numpy()).astype(np.int64)
    return History(columns, judged, np.ascontiguousarray(rows.select(FEATURES).to_numpy()), source)


def read_bars(items: Iterable[Candle | Hole], report: Callable[[int], None]) -> pl.DataFrame:
    """Bars as columns, of `BAR_SCHEMA`; holes are left open.

    Parameters
    ----------
    items
        Bars and holes, oldest first.
    report
        Told how many bars have been read since it was told last.
    """
    import polars as pl

    from levibot.ml.features.vectorised import BAR_SCHEMA

    open_ms = array("q")
    others = [array("d") for _ in range(len(BAR_SCHEMA) - 1)]
    appends: list[Callable[[Any], None]] = [open_ms.append, *(column.append for column in others)]
    count = 0
    for item in items:
        if isinstance(item, Hole):  # it shows in the time of the next bar
            continue
        for append, value in zip(appends, item, strict=True):
            append(value)
        count += 1
        if not count % _REPORT_EVERY:
            report(_REPORT_EVERY)
    report(count % _REPORT_EVERY)
    columns = zip(BAR_SCHEMA.items(), (open_ms, *others), strict=True)
    return pl.DataFrame([pl.Series(name, np.array(column)).cast(kind) for (name, kind), column in columns])
