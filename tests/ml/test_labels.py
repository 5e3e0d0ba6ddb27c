"""Labels say which barrier is touched first, and nothing where that is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import fill_gaps
from levibot.ml.features import FEATURES
from levibot.ml.history import BarColumns, History
from levibot.ml.labels import DOWN, NONE, UP, default_distance, levels, outcomes, volatility
from levibot.ml.manifest import VOLATILITY, Label
from tests.ml.examples import START_MS, read_history, walk


def history(bars: Sequence[Candle], volatility: float = 0.0) -> History:
    """Bars that all count as judged, with one volatility."""
    features = np.zeros((len(bars), len(FEATURES)))
    features[:, FEATURES.index(VOLATILITY)] = volatility
    return History(columns(bars), np.arange(len(bars)), features)


def columns(bars: Sequence[Candle]) -> BarColumns:
    return read_history(bars).bars


def labels_of(bars: Sequence[Candle], label: Label) -> NDArray[np.int8]:
    return outcomes(history(bars), label).labels


def flat(*ranges: tuple[float, float]) -> list[Candle]:
    """Bars that open and close at 100, with these lows and highs."""
    return [Candle(START_MS + n * MINUTE_MS, 100.0, high, low, 100.0, 1.0) for n, (low, high) in enumerate(ranges)]


STILL = (100.0, 100.0)
LABEL = Label(take_profit=0.02, stop_loss=0.01, horizon_bars=3)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        ([(100, 102), STILL, STILL], UP),
        ([STILL, STILL, (99.5, 103)], UP),
        ([STILL, (99, 100), (100, 110)], DOWN),
        ([STILL, (100, 102), (90, 100)], UP),
        ([(99, 102), STILL, STILL], DOWN),  # both in one bar: the stop
        ([(99.001, 101.999), STILL, STILL], NONE),
        ([STILL, STILL, STILL, (100, 110)], NONE),  # beyond the horizon
        ([(100, 102), STILL], NONE),  # an unfinished tail
    ],
)
def test_the_first_touch_counts(ahead: list[tuple[float, float]], expected: int) -> None:
    assert labels_of(flat((50, 200), *ahead), LABEL)[0] == expected


@given(
    st.integers(0, 10_000),
    st.floats(0.0005, 0.004),
    st.floats(0.0005, 0.004),
    st.integers(1, 12),
    st.sets(st.integers(0, 79), max_size=3),
)
def test_they_agree_with_a_plain_loop(
    seed: int, take_profit: float, stop_loss: float, horizon: int, missing: set[int]
) -> None:
    bars = [bar for n, bar in enumerate(walk(80, seed=seed)) if n not in missing]
    label = Label(take_profit=take_profit, stop_loss=stop_loss, horizon_bars=horizon)
    found = outcomes(history(bars), label)
    for n, bar in enumerate(bars):
        ahead = bars[n + 1 : n + 1 + horizon]
        whole = [later.open_ms for later in ahead] == [bar.open_ms + k * MINUTE_MS for k in range(1, horizon + 1)]
        assert found.complete[n] == whole
        assert found.labels[n] == (first_touch(bar, ahead, label) if whole else NONE)
        if not whole:
            assert math.isnan(found.long[n])
            assert math.isnan(found.short[n])
            continue
        after = bars[n + 1 + horizon : n + 2 + horizon]
        leaving = after[0].open if after and after[0].open_ms == ahead[-1].open_ms + MINUTE_MS else ahead[-1].close
        for side, gross in ((1, found.long[n]), (-1, found.short[n])):
            assert gross == pytest.approx(bet(side, bar.close, ahead, leaving, label), abs=1e-12)


def first_touch(bar: Candle, ahead: Sequence[Candle], label: Label) -> int:
    for later in ahead:
        if later.low <= bar.close * (1 - label.stop_loss):
            return DOWN
        if later.high >= bar.close * (1 + label.take_profit):
            return UP
    return NONE


def bet(side: int, close: float, ahead: Sequence[Candle], leaving: float, label: Label) -> float:
    """Gross return of a position that is opened at the next open and protected on both sides of `close`."""
    upper, lower = close * (1 + label.take_profit), close * (1 - label.stop_loss)
    for later in ahead:
        stopped, won = later.low <= lower, later.high >= upper
        if side < 0:
            stopped, won = won, stopped
        if stopped:
            leaving = min(later.open, lower) if side > 0 else max(later.open, upper)
        elif won:
            leaving = upper if side > 0 else lower
        if stopped or won:
            break
    return side * (leaving / ahead[0].open - 1)


def test_a_bet_that_reaches_nothing_brings_what_the_open_after_the_horizon_brings() -> None:
    bars = flat(STILL, (99.5, 101), STILL, STILL, STILL)
    bars[1] = bars[1]._replace(open=100.5)
    bars[4] = bars[4]._replace(open=99.9, low=99.9)
    found = outcomes(history(bars), LABEL)
    assert (found.labels[0], found.ends[0]) == (NONE, 3)
    assert found.long[0] == pytest.approx(99.9 / 100.5 - 1)
    assert found.short[0] == pytest.approx(1 - 99.9 / 100.5)
    assert found.complete.tolist() == [True, True, False, False, False]


def test_a_bar_that_touches_both_is_the_stop_of_either_side_and_a_gap_costs_more() -> None:
    both = outcomes(history(flat(STILL, (99, 102), STILL, STILL)), LABEL)
    assert (both.labels[0], both.ends[0]) == (DOWN, 1)
    assert (both.long[0], both.short[0]) == pytest.approx((-0.01, -0.02))
    bars = flat(STILL, STILL, (95, 97), STILL)
    bars[2] = bars[2]._replace(open=96.0, close=96.0)
    torn = outcomes(history(bars), LABEL)
    assert (torn.long[0], torn.short[0]) == pytest.approx((-0.04, 0.01)), "a target is a limit, and no gift"


def test_sigmas_are_of_the_row_over_the_horizon_never_near_and_never_absurd() -> None:
    label = Label(take_profit=2.0, stop_loss=1.0, horizon_bars=4, unit="sigma", least=0.01)
    assert label.distances(0.005) == pytest.approx((0.02, 0.01))
    assert label.distances(0.0) == (0.01, 0.01)
    assert label.distances(9.0) == (0.5, 0.5)
    bars = flat(STILL, (99.1, 101.9), (99, 100), STILL, STILL)
    assert outcomes(history(bars, 0.005), label).labels[0] == DOWN
    assert outcomes(history(bars, 0.02), label).labels[0] == NONE
    upper, lower = levels(history(bars, 0.005), label)
    assert (upper[0], lower[0]) == pytest.approx((102.0, 99.0))


def test_a_fixed_horizon_asks_for_the_sign_and_is_protected_all_the_same() -> None:
    label = Label(kind="fixed_horizon", take_profit=0.02, stop_loss=0.01, horizon_bars=2)
    bars = flat(*[STILL] * 6)
    bars[2] = bars[2]._replace(high=101.0, close=101.0)
    bars[3] = bars[3]._replace(low=98.0, high=100.0, close=99.5)
    found = outcomes(history(bars), label)
    assert found.labels.tolist() == [UP, DOWN, DOWN, UP, NONE, NONE]
    assert found.complete.tolist() == [True] * 4 + [False] * 2, "a price that stands still is neither"
    assert found.long[1] == pytest.approx(-0.01), "stopped before the horizon"


def test_what_is_mostly_made_up_has_no_label() -> None:
    label = Label(take_profit=0.02, stop_loss=0.01, horizon_bars=20)
    bars = flat(*[STILL] * 20, (100, 102), *[STILL] * 5)
    assert labels_of(bars, label)[0] == UP
    tenth = [bar._replace(synthetic=n in (3, 4)) for n, bar in enumerate(bars)]
    assert labels_of(tenth, label)[0] == UP
    more = [bar._replace(synthetic=n in (3, 4, 5)) for n, bar in enumerate(bars)]
    labels = labels_of(more, label)
    assert labels[:3].tolist() == [NONE] * 3
    assert labels[3] == UP, "it looks at two of them only"


def test_volatility_leaves_out_holes_and_made_up_bars_and_what_comes_later() -> None:
    bars = list(walk(2000))
    closes = np.log([bar.close for bar in bars[:1000]])
    expected = math.sqrt(float(np.mean(np.diff(closes) ** 2)))
    assert volatility([columns(bars)], bars[1000].open_ms) == pytest.approx(expected)
    torn = list(fill_gaps([*bars[:400], *bars[450:1000]], 100))
    assert volatility([columns(torn)], 2**62) == pytest.approx(expected, rel=0.05)
    assert volatility([columns(bars[:1])], 2**62) == 0.0
    assert volatility([], 0) == 0.0


def test_the_default_distance_follows_volatility_but_leaves_a_win_after_costs() -> None:
    assert default_distance(0.002, 100, 0.0024) == pytest.approx(0.014)
    assert default_distance(0.0001, 100, 0.0024) == pytest.approx(0.0072)
    assert default_distance(9.0, 100, 0.0024) == 0.5
