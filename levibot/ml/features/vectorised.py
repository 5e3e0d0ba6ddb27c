"""The vectorised form, for training: the features of many bars at once, by polars and TA-Lib.

It gives what `FeatureWindow` gives, to 1e-9. TA-Lib is used where a function of it depends on the window
alone: its sums run on from bar to bar and carry rounding along, which prices as logarithms cannot bear, and
its RSI, ATR and MACD never forget. Its LN is the one of Python's `math`; NumPy's differs in the last bit,
and the place of a close in a bar of one tick in the ninth digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from levibot.bus.messages import AltData
from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS
from levibot.ml.features.altdata import feature_name
from levibot.ml.features.formulas import DAY_MS, HISTOGRAM_WEIGHTS, MACD_WEIGHTS
from levibot.ml.features.registry import (
    ALTDATA_FEATURES,
    ATR,
    BAND,
    BAND_WIDTH,
    CONTEXT_RETURNS,
    FEATURES,
    GAPS,
    LONG,
    MOST_SYNTHETIC,
    REGISTRY,
    RELATIVE_RETURNS,
    RETURNS,
    RSI,
    SHORT_FLOW,
    SHORT_VOLATILITY,
    SHORT_VOLUME,
    WINDOW,
)

Floats = NDArray[np.float64]

BAR_SCHEMA: dict[str, pl.DataType] = {
    "open_ms": pl.Int64(),
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
    "synthetic": pl.Boolean(),
    "buy_volume": pl.Float64(),
    "trades": pl.Float64(),
    "spread": pl.Float64(),
    "imbalance": pl.Float64(),
}
_BLOCK = 1 << 15  # bars at a time, so that windows of a year fit into memory
_OWN_RETURN = "own_return_{}"
_OWN = (
    *(feature.name for feature in REGISTRY if feature.group in ("bars", "book", "flow")),
    *(_OWN_RETURN.format(bars) for bars in RELATIVE_RETURNS),
)


class _Block(NamedTuple):
    """Consecutive bars; the features are of those from the `WINDOW`th on."""

    open_ms: NDArray[np.int64]
    open: Floats  # logarithms of prices
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    synthetic: NDArray[np.bool_]
    buy_volume: Floats
    trades: Floats
    spread: Floats
    imbalance: Floats


def feature_frame(bars: pl.DataFrame, context: pl.DataFrame | None, altdata: Iterable[AltData]) -> pl.DataFrame:
    """Features at each bar that has any.

    Parameters
    ----------
    bars
        Of one symbol, with the columns of `BAR_SCHEMA`, oldest first; holes are left open.
    context
        The same of the leading market; None: there is none.
    altdata
        Values of the symbol's base asset.

    Returns
    -------
    DataFrame
        ``open_ms`` and `FEATURES`, NaN where one of an optional group is missing.

    Raises
    ------
    MarketDataError
        If a bar is none, as of `FeatureWindow.add`, or is not later than the one before.
    """
    _check(bars)
    rows = pl.concat([_own_features(block) for block in _blocks(bars)])
    rows = rows.join(_context_features(context), on="open_ms", how="left", maintain_order="left")
    rows = rows.with_columns(
        (pl.col(_OWN_RETURN.format(n)) - pl.col(f"context_return_{n}")).alias(f"relative_return_{n}")
        for n in RELATIVE_RETURNS
    )
    rows = _join_altdata(rows, altdata)
    return rows.select("open_ms", pl.col(FEATURES).fill_null(math.nan))


def _check(bars: pl.DataFrame) -> None:
    """Refuse what `FeatureWindow.add` refuses."""
    price = pl.min_horizontal("open", "close")
    sound = (
        pl.col("low").gt(0)
        & price.ge(pl.col("low"))
        & pl.max_horizontal("open", "close").le(pl.col("high"))
        & pl.all_horizontal(pl.col("open", "high", "low", "close", "volume").is_finite())
        & pl.col("volume").ge(0)
    )
    bad = bars.filter(~sound)
    if len(bad):
        raise MarketDataError(
            f"{bad.row(0, named=True)!r:.300} is no bar; expected finite prices, 0 < low ≤ open, close ≤ high"
        )
    late = bars.filter(pl.col("open_ms").diff() <= 0)
    if len(late):
        raise MarketDataError(f"the bar of {late['open_ms'][0]} is not later than the one before; sort them")


def _blocks(bars: pl.DataFrame) -> Iterator[_Block]:
    """All bars, in blocks that begin with the warm-up of their rows; one at least."""
    for begin in range(0, max(1, len(bars)), _BLOCK):
        first = max(0, begin - LONG)
        block = bars.slice(first, begin + _BLOCK - first)
        columns = {name: block[name].to_numpy() for name in BAR_SCHEMA}
        if len(block):  # TA-Lib refuses an empty array
            columns |= {name: talib.LN(columns[name]) for name in ("open", "high", "low", "close")}
        yield _Block(**columns)


def _own_features(block: _Block) -> pl.DataFrame:
    """Features of the groups bars, book and flow at each judged bar, and what is compared with the context."""
    if len(block.open_ms) < WINDOW:
        return pl.DataFrame(schema={"open_ms": pl.Int64, **dict.fromkeys(_OWN, pl.Float64)})
    columns: dict[str, NDArray[Any]] = {
        "open_ms": block.open_ms[LONG:],
        **_movements(block),
        **_volumes(block),
        **_shapes(block),
        **_liquidity(block),
        "synthetic_share": _windows(block.synthetic, WINDOW).sum(axis=1) / WINDOW,
    }
    for bars in RELATIVE_RETURNS:
        columns[_OWN_RETURN.format(bars)] = talib.MOM(block.close, bars)[LONG - 1 : -1]
    return pl.DataFrame(columns).filter(_is_judged(block)).select("open_ms", *_OWN)


def _is_judged(block: _Block) -> NDArray[np.bool_]:
    """Whether each bar from the `WINDOW`th on has features: no hole, and not too much that is made up."""
    steps = np.diff(block.open_ms, prepend=0) == MINUTE_MS
    made_up = _windows(block.synthetic, WINDOW).sum(axis=1)
    judged: NDArray[np.bool_] = (
        _windows(steps, LONG).all(axis=1) & ~block.synthetic[LONG:] & (made_up <= MOST_SYNTHETIC)
    )
    return judged


def _windows(values: NDArray[Any], bars: int) -> NDArray[Any]:
    """The newest `bars` values at each bar from the `WINDOW`th on, oldest first; shape (rows, bars)."""
    return sliding_window_view(values, bars)[WINDOW - bars :]


def _ratio(part: Floats, whole: Floats, otherwise: float) -> Floats:
    """Quotient, and `otherwise` where the whole is 0."""
    quotient: Floats = np.divide(part, whole, out=np.full(len(part), otherwise), where=whole != 0)
    return quotient


def _location(value: Floats, high: Floats, low: Floats) -> Floats:
    return _ratio(value - low, high - low, 0.5) - 0.5


def _movements(block: _Block) -> dict[str, Floats]:
    close = block.close[LONG:]
    change = talib.MOM(block.close, 1)
    squares = change**2
    long = np.sqrt(_windows(squares, LONG).mean(axis=1))
    short = np.sqrt(_windows(squares, SHORT_VOLATILITY).mean(axis=1))
    recent = _windows(change, RSI)
    away = _windows(block.close, BAND) - close[:, None]
    mean = away.mean(axis=1)
    edge = BAND_WIDTH * np.sqrt(((away - mean[:, None]) ** 2).mean(axis=1))
    return {
        **{f"return_{bars}": talib.MOM(block.close, bars)[LONG:] for bars in RETURNS},
        **{f"gap_{bars}": -(_windows(block.close, bars) - close[:, None]).mean(axis=1) for bars in GAPS},
        "volatility_60": long,
        "volatility_ratio_10_60": _ratio(short, long, 1.0),
        "rsi_14": _ratio(recent.sum(axis=1), np.abs(recent).sum(axis=1), 0.0) / 2,
        "macd_12_26": _windows(change, LONG) @ np.array(MACD_WEIGHTS),
        "macd_histogram_9": _windows(change, LONG) @ np.array(HISTOGRAM_WEIGHTS),
        "band_position_20": _ratio(-mean, edge, 0.0),
        "band_width_20": 2 * edge,
    }


def _volumes(block: _Block) -> dict[str, Floats]:
    largest = talib.MAX(block.volume, LONG)[LONG:]
    traded = largest > 0
    volumes = _windows(block.volume, LONG)
    shares = np.divide(volumes, largest[:, None], out=np.zeros(volumes.shape), where=traded[:, None])
    total = shares.sum(axis=1)
    mean = total / LONG
    deviation = np.sqrt(((shares - mean[:, None]) ** 2).mean(axis=1))
    typical = (block.high + block.low + block.close) / 3
    away = (shares * (_windows(typical, LONG) - block.close[LONG:, None])).sum(axis=1)
    return {
        "volume_z_60": _ratio(shares[:, -1] - mean, deviation, 0.0),
        "volume_ratio_5_60": _ratio(shares[:, -SHORT_VOLUME:].mean(axis=1), mean, 1.0),
        "vwap_gap_60": _ratio(-away, total, 0.0),
    }


def _shapes(block: _Block) -> dict[str, Floats]:
    open_, high, low, close = (column[LONG:] for column in (block.open, block.high, block.low, block.close))
    true_range = talib.TRANGE(block.high, block.low, block.close)
    mean_range = _windows(true_range, ATR).mean(axis=1)
    highest, lowest = talib.MAX(block.high, LONG)[LONG:], talib.MIN(block.low, LONG)[LONG:]
    angle = block.open_ms[LONG:] % DAY_MS * (2 * math.pi / DAY_MS)
    return {
        "atr_14": mean_range,
        "range_position_60": _location(close, highest, lowest),
        "body": _ratio(close - open_, high - low, 0.0),
        "close_location": _location(close, high, low),
        "time_sine": np.sin(angle),
        "time_cosine": np.cos(angle),
        "range_ratio_14": _ratio(true_range[LONG:], mean_range, 1.0),
    }


def _liquidity(block: _Block) -> dict[str, Floats]:
    spread, imbalance, trades = (column[LONG:] for column in (block.spread, block.imbalance, block.trades))
    is_count = (trades >= 0) & np.isfinite(trades)
    return {
        "spread": np.where((spread >= 0) & np.isfinite(spread), spread, math.nan),
        "book_imbalance": np.where(np.abs(imbalance) <= 1, imbalance, math.nan),
        "flow_imbalance": _flow(block, 1),
        "flow_imbalance_10": _flow(block, SHORT_FLOW),
        "trades_log": np.log1p(np.where(is_count, trades, math.nan)),
    }


def _flow(block: _Block, bars: int) -> Floats:
    """(bought − sold) / traded; NaN where nothing was traded, or it is not known who was the taker."""
    is_known = (block.buy_volume >= 0) & np.isfinite(block.buy_volume)
    bought = np.where(is_known, np.minimum(block.buy_volume, block.volume), math.nan)
    bought[block.volume == 0] = 0.0  # nobody bought
    volumes = _windows(block.volume, bars)
    largest = volumes.max(axis=1)
    largest[largest == 0] = math.nan
    traded = (volumes / largest[:, None]).sum(axis=1)
    found: Floats = 2 * (_windows(bought, bars) / largest[:, None]).sum(axis=1) / traded - 1
    return found


def _context_features(context: pl.DataFrame | None) -> pl.DataFrame:
    """Features of the leading market, by the opening time of the bars that they belong to."""
    names = (*(f"context_return_{bars}" for bars in CONTEXT_RETURNS), "context_volatility_60")
    parts = [pl.DataFrame(schema={"open_ms": pl.Int64, **dict.fromkeys(names, pl.Float64)})]
    if context is not None:
        _check(context)
        for block in _blocks(context):
            if len(block.open_ms) < WINDOW:
                continue
            squares = talib.MOM(block.close, 1) ** 2
            columns: dict[str, NDArray[Any]] = {
                "open_ms": block.open_ms[LONG:] + MINUTE_MS,
                **{f"context_return_{bars}": talib.MOM(block.close, bars)[LONG:] for bars in CONTEXT_RETURNS},
                "context_volatility_60": np.sqrt(_windows(squares, LONG).mean(axis=1)),
            }
            parts.append(pl.DataFrame(columns).filter(_is_judged(block)))
    return pl.concat(parts)


def _join_altdata(rows: pl.DataFrame, altdata: Iterable[AltData]) -> pl.DataFrame:
    """Put the last value of each name beside each bar, unless it had expired when the bar closed."""
    known: dict[str, dict[int, tuple[float, int]]] = {name: {} for name in ALTDATA_FEATURES}
    for data in altdata:
        if (name := feature_name(data)) in known:
            known[name][data.fetched_ms] = data.value, data.expires_ms
    for name, values in known.items():
        fetched_ms = sorted(values)
        frame = pl.DataFrame(
            {
                "fetched_ms": fetched_ms,
                name: [values[ms][0] for ms in fetched_ms],
                "expires_ms": [values[ms][1] for ms in fetched_ms],
            },
            schema={"fetched_ms": pl.Int64, name: pl.Float64, "expires_ms": pl.Int64},
        )
        is_usable = (pl.col("open_ms") + MINUTE_MS < pl.col("expires_ms")) & pl.col(name).is_finite()
        rows = (
            rows.join_asof(frame, left_on="open_ms", right_on="fetched_ms", strategy="backward")
            .with_columns(pl.when(is_usable).then(pl.col(name)))
            .drop("fetched_ms", "expires_ms", strict=False)
        )
    return rows
