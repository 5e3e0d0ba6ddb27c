"""Both forms give the same numbers, and neither looks ahead, or further back than its window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.ml.features import FEATURES, OPTIONAL_FEATURES, REGISTRY, WINDOW, FeatureWindow
from levibot.ml.features.vectorised import feature_frame
from tests.market.real_data import real_data
from tests.ml.examples import walk
from tests.ml.features.streams import Rows, Stream, frame, play, recorded, stream, vectorised


def assert_equal(found: Rows, expected: Rows) -> None:
    assert found.keys() == expected.keys()
    assert found
    for name, one, other in zip(
        FEATURES, np.array([*found.values()]).T, np.array([*expected.values()]).T, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=name)


class Extract(NamedTuple):
    folder: str
    file: str
    leading: str
    begin: int
    bars: int
    filled: int = 120  # longest hole, in minutes, that is filled
    synthetic: int = 0


BTC, OLD_BTC = "BTCUSDT-1m.csv.gz", "BTCUSD_1m_2018.csv.gz"
REAL = {
    "2025": Extract("binance-um-2025-05", "ETHUSDT-1m.csv.gz", BTC, 3_000, 1_500),
    "a cheap coin": Extract("binance-um-2025-05", "DOGEUSDT-1m.csv.gz", BTC, 20_000, 1_000),
    "the context itself": Extract("binance-um-2025-05", BTC, BTC, 9_000, 500),
    "the outage of 2023": Extract("binance-spot-2023-03", "SOLUSDT-1m.csv.gz", BTC, 10_500, 800, synthetic=152),
    "holes of 2018": Extract("bitfinex-2018", OLD_BTC, OLD_BTC, 114_000, 1_000, filled=50, synthetic=101),
}


@pytest.mark.parametrize("extract", REAL.values(), ids=REAL)
def test_both_are_equal_on_real_candles(extract: Extract) -> None:
    folder = real_data("candles", extract.folder)
    told = recorded(folder / extract.file, folder / extract.leading, extract.begin, extract.bars, extract.filled)
    assert sum(bar.synthetic for bar in told.bars) == extract.synthetic
    rows = play(FeatureWindow(), told)
    assert_equal(vectorised(told), rows)
    known = np.isfinite(np.array([*rows.values()])).any(axis=0)
    assert known.all(), "every feature is known somewhere"


def test_both_are_equal_without_what_is_optional() -> None:
    told = Stream(list(walk(400)))
    rows = play(FeatureWindow(), told)
    assert_equal(vectorised(told), rows)
    missing = np.isnan(np.array([*rows.values()])).all(axis=0)
    assert {name for name, is_missing in zip(FEATURES, missing, strict=True) if is_missing} == OPTIONAL_FEATURES


def test_both_give_the_same_where_nothing_moves_or_is_traded() -> None:
    flat = [Candle(n * MINUTE_MS, 0.1, 0.1, 0.1, 0.1, 0.0 if n < 90 else 5.0) for n in range(180)]
    told = Stream(flat, flat)
    assert_equal(vectorised(told), play(FeatureWindow(), told))


FORMS: dict[str, Callable[[Stream], Rows]] = {
    "incremental": lambda told: play(FeatureWindow(), told),
    "vectorised": vectorised,
}
BARS, AT = 120, 90  # `AT` is judged


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(
    place=st.one_of(st.integers(0, AT - WINDOW), st.integers(AT + 1, BARS - 1)),
    factor=st.floats(0.5, 2.0),
    volume=st.floats(0, 1e5),
    synthetic=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_no_bar_after_it_or_before_its_window_changes_anything_at_a_bar(
    form: Callable[[Stream], Rows], place: int, factor: float, volume: float, synthetic: bool
) -> None:
    told = stream(BARS)
    open_ms = told.bars[AT].open_ms
    other = other_bar(told.bars[place], factor, volume, synthetic=synthetic)
    changed = [*told.bars[:place], other, *told.bars[place + 1 :]]
    same(form(replace(told, bars=changed))[open_ms], form(told)[open_ms])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(
    place=st.one_of(st.integers(0, AT - WINDOW + 1), st.integers(AT + 2, BARS + 1)),
    factor=st.floats(0.5, 2.0),
    synthetic=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_the_context_is_that_of_the_minute_before(
    form: Callable[[Stream], Rows], place: int, factor: float, synthetic: bool
) -> None:
    told = stream(BARS)  # its context begins two minutes earlier
    assert told.context[AT + 2].open_ms == told.bars[AT].open_ms
    other = other_bar(told.context[place], factor, 1.0, synthetic=synthetic)
    changed = [*told.context[:place], other, *told.context[place + 1 :]]
    open_ms = told.bars[AT].open_ms
    same(form(replace(told, context=changed))[open_ms], form(told)[open_ms])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_feature_looks_back_as_far_as_the_registry_says(form: Callable[[Stream], Rows]) -> None:
    told = stream(BARS)
    open_ms = told.bars[AT].open_ms
    expected = form(told)[open_ms]
    farthest = dict.fromkeys(FEATURES, 0)

    def note(ago: int, changed: Stream) -> None:
        for name, one, other in zip(FEATURES, form(changed)[open_ms], expected, strict=True):
            if abs(one - other) > 1e-12:
                farthest[name] = ago + 1

    for ago in range(WINDOW):
        own, leading = [*told.bars], [*told.context]
        own[AT - ago] = other_bar(own[AT - ago], 1.01, 77.0, synthetic=ago == WINDOW - 1)
        leading[AT + 1 - ago] = other_bar(leading[AT + 1 - ago], 1.01, 77.0, synthetic=False)
        note(ago, replace(told, bars=own))
        note(ago, replace(told, context=leading))
    windows = {feature.name: feature.window for feature in REGISTRY}
    clock = {"time_sine", "time_cosine"}
    relative = {name: windows[name] + 1 for name in FEATURES if name.startswith("relative_return")}
    assert {n: w for n, w in farthest.items() if n not in clock} == {
        n: w for n, w in (windows | relative).items() if n not in clock
    }


def other_bar(bar: Candle, factor: float, volume: float, *, synthetic: bool) -> Candle:
    prices = [price * factor for price in bar[1:5]]
    return bar._replace(
        open=prices[0],
        high=prices[1] * 1.02,
        low=prices[2] * 0.97,
        close=prices[3],
        volume=volume,
        synthetic=synthetic,
        buy_volume=volume / 3,
        trades=3.0,
        spread=0.5,
        imbalance=0.25,
    )


def same(found: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """To the last bit; a missing feature stays missing."""
    assert [*zip(FEATURES, map(repr, found), strict=True)] == [*zip(FEATURES, map(repr, expected), strict=True)]


@pytest.mark.parametrize(
    "changes", [{"close": math.nan}, {"high": math.inf}, {"low": 0.0}, {"open": 1e9}, {"volume": -1.0}]
)
def test_what_is_no_bar_is_refused_as_a_whole(changes: dict[str, float]) -> None:
    bars = list(walk(70))
    bars[30] = bars[30]._replace(**changes)
    with pytest.raises(MarketDataError, match="is no bar"):
        feature_frame(frame(bars), None, ())
    with pytest.raises(MarketDataError, match="is no bar"):
        feature_frame(frame(walk(70)), frame(bars), ())


def test_bars_that_are_not_in_order_are_refused() -> None:
    bars = list(walk(70))
    with pytest.raises(MarketDataError, match="is not later than the one before"):
        feature_frame(frame([*bars, bars[-1]]), None, ())


@pytest.mark.parametrize("count", [0, 1, WINDOW - 1])
def test_too_few_bars_have_no_features(count: int) -> None:
    found = feature_frame(frame(walk(count)), frame(walk(count)), ())
    assert found.shape == (0, 1 + len(FEATURES))
    assert found.schema["open_ms"] == pl.Int64


def test_blocks_of_bars_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    told = stream(500)
    whole = vectorised(told)
    monkeypatch.setattr("levibot.ml.features.vectorised._BLOCK", 70)
    assert_equal(vectorised(told), whole)
