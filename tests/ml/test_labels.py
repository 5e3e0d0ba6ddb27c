"""Labels say which barrier is touched first, and nothing where that is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import fill_gaps
from levibot.ml.history import BarColumns, read_history
from levibot.ml.labels import DOWN, NONE, UP, barrier_labels, default_distance, volatility
from levibot.ml.manifest import Label
from tests.ml.examples import START_MS, walk


def columns(bars: Sequence[Candle]) -> BarColumns:
    return read_history(bars, lambda _more: None).bars


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
    assert barrier_labels(columns(flat((50, 200), *ahead)), LABEL)[0] == expected


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
    found = barrier_labels(columns(bars), label)
    for n, bar in enumerate(bars):
        assert found[n] == first_touch(bar, bars[n + 1 : n + 1 + horizon], label)


def first_touch(bar: Candle, ahead: Sequence[Candle], label: Label) -> int:
    times = [bar.open_ms + (n + 1) * MINUTE_MS for n in range(label.horizon_bars)]
    if [later.open_ms for later in ahead] != times:
        return NONE
    for later in ahead:
        if later.low <= bar.close * (1 - label.stop_loss):
            return DOWN
        if later.high >= bar.close * (1 + label.take_profit):
            return UP
    return NONE


def test_what_is_mostly_made_up_has_no_label() -> None:
    label = Label(take_profit=0.02, stop_loss=0.01, horizon_bars=20)
    bars = flat(*[STILL] * 20, (100, 102), *[STILL] * 5)
    assert barrier_labels(columns(bars), label)[0] == UP
    tenth = [bar._replace(synthetic=n in (3, 4)) for n, bar in enumerate(bars)]
    assert barrier_labels(columns(tenth), label)[0] == UP
    more = [bar._replace(synthetic=n in (3, 4, 5)) for n, bar in enumerate(bars)]
    labels = barrier_labels(columns(more), label)
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
