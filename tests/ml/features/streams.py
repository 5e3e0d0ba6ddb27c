"""What an engine is told minute by minute: bars with their flow, the leading market, alternative data."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

import polars as pl

from levibot.bus.messages import AltData
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import CandleTable, read_candles
from levibot.market.gaps import fill_gaps
from levibot.ml.features import FeatureWindow
from levibot.ml.features.registry import ALTDATA_FEATURES
from levibot.ml.features.vectorised import feature_frame
from levibot.ml.history import read_bars
from tests.ml.examples import walk

Rows = dict[int, tuple[float, ...]]


@dataclass
class Stream:
    """Bars of a symbol and of its context, and alternative data; each oldest first."""

    bars: list[Candle]
    context: list[Candle] = field(default_factory=list)
    altdata: list[AltData] = field(default_factory=list)


def stream(count: int, seed: int = 3) -> Stream:
    """A random walk with all that it may have."""
    bars = list(walk(count, seed=seed))
    begin_ms = bars[0].open_ms - 2 * MINUTE_MS  # the context of the first judged bar is whole
    context = list(walk(count + 2, seed=seed + 1, start_ms=begin_ms))
    return Stream(with_flow(bars, seed), context, altdata(bars, seed))


def recorded(path: Path, leading: Path, begin: int, count: int, filled: int) -> Stream:
    """Bars of a file of candles, with the leading market of another, and a flow that is made up."""
    bars = _candles(path, begin, count, filled)
    first_ms, last_ms = bars[0].open_ms, bars[-1].open_ms
    context = _candles(leading, _table(leading).index_at(first_ms) - 90, count + 90, filled)
    context = [bar for bar in context if bar.open_ms <= last_ms]
    return Stream(with_flow(bars, seed=1), context, altdata(bars, seed=1))


@cache
def _table(path: Path) -> CandleTable:
    return read_candles(path)


def _candles(path: Path, begin: int, count: int, max_gap: int) -> list[Candle]:
    filled = fill_gaps(islice(_table(path).from_index(begin), count), max_gap)
    return [item for item in filled if isinstance(item, Candle)]


def with_flow(bars: Sequence[Candle], seed: int) -> list[Candle]:
    """The same bars with a flow, of which now and then something is not known."""
    draw = random.Random(seed)

    def known(value: float) -> float:
        return value if draw.random() < 0.97 else math.nan

    return [
        bar
        if bar.synthetic
        else bar._replace(
            buy_volume=known(bar.volume * draw.random()),
            trades=known(float(draw.randrange(1, 500))),
            spread=known(draw.random() * 1e-3),
            imbalance=known(draw.uniform(-1, 1)),
        )
        for bar in bars
    ]


def altdata(bars: Sequence[Candle], seed: int) -> list[AltData]:
    """Values of every name, some of which expire before the next."""
    draw = random.Random(seed)
    first_ms, last_ms = bars[0].open_ms, bars[-1].close_ms
    made = []
    for name in ALTDATA_FEATURES:
        asset = "" if name.startswith("market_") else "ETH"
        for _ in range(6):
            fetched_ms = draw.randrange(first_ms, last_ms)
            until_ms = fetched_ms + draw.randrange(last_ms - first_ms)
            value = draw.gauss(0, 1)
            made.append(AltData(asset, name.removeprefix("market_"), value, "test", 0, fetched_ms, until_ms))
    return sorted(made, key=lambda data: data.fetched_ms)


def play(window: FeatureWindow, told: Stream, seed: int = 5) -> Rows:
    """Features at each bar that has any, by its opening time; the two markets race each other every minute."""
    draw = random.Random(seed)
    events: list[tuple[int, float, int, Candle | AltData]] = [
        *((bar.close_ms, 0.5, 0, bar) for bar in told.bars),
        *((bar.close_ms, draw.random(), 1, bar) for bar in told.context),
        *((data.fetched_ms, 0.0, 2, data) for data in told.altdata),
    ]
    rows: Rows = {}
    for _, _, kind, item in sorted(events, key=lambda event: event[:3]):
        if isinstance(item, AltData):
            window.add_altdata(item)
        elif kind:
            window.add_context(item)
        elif (row := window.add(item)) is not None:
            rows[item.open_ms] = row
    return rows


def vectorised(told: Stream) -> Rows:
    """The same by the other form."""
    context = frame(told.context) if told.context else None
    found = feature_frame(frame(told.bars), context, told.altdata)
    return {row[0]: row[1:] for row in found.iter_rows()}


def frame(bars: Iterable[Candle]) -> pl.DataFrame:
    """Bars as the vectorised form takes them."""
    return read_bars(bars, lambda _more: None)
