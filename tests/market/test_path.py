"""Ticks inside a bar stay inside it, add up to it, and come when the grid says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import fill_gaps
from levibot.market.path import Grid, PathMaker, Quote, corners, price_at, staggered

BAR = Candle(MINUTE_MS, 10.0, 14.0, 9.0, 12.0, 6.0)


def test_the_path_goes_to_the_nearer_extreme_first() -> None:
    assert corners(BAR) == (10, 9, 14, 12)
    assert corners(BAR._replace(high=10.5)) == (10, 10.5, 9, 12)
    assert price_at(BAR, 0) == 10
    assert price_at(BAR, 10_000) == pytest.approx(9.5)
    assert price_at(BAR, 40_000) == 14
    assert price_at(BAR, 59_999) == pytest.approx(12, abs=0.001)


@given(
    st.floats(700, 200_000),
    st.integers(0, 3 * MINUTE_MS),
    st.lists(st.tuples(st.floats(1, 2), st.floats(0.001, 5)), min_size=1, max_size=4),
)
def test_ticks_stay_within_their_bar_and_their_volumes_add_up(
    step_ms: float, after_ms: int, shapes: list[tuple[float, float]]
) -> None:
    candles = [
        Candle(minute * MINUTE_MS, 5.0, 5.0 + wick, 4.0, 5.0, volume)
        for minute, (wick, volume) in enumerate(shapes)
    ]
    items = list(PathMaker(staggered("BTC/USDT", step_ms), 4).play(fill_gaps(candles, 5), after_ms))
    quotes = [item for _, item in items if isinstance(item, Quote)]
    assert [at for at, _ in items] == sorted(at for at, _ in items)
    for before, after in pairwise(quotes):
        assert after.event_ms - before.event_ms == pytest.approx(step_ms, abs=1)
    for candle in candles:
        own = [quote for quote in quotes if candle.open_ms <= quote.event_ms < candle.close_ms]
        assert all(candle.low <= quote.last <= candle.high for quote in own)
        assert all(quote.bid < quote.ask and quote.bid <= quote.last <= quote.ask for quote in own)
        if own and candle.open_ms > after_ms:
            assert sum(quote.volume for quote in own) == pytest.approx(candle.volume)
    assert all(quote.event_ms > after_ms for quote in quotes)


@given(st.floats(0.5, 100_000), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_grid_has_the_same_ticks_wherever_one_enters_it(step_ms: float, a: int, b: int, c: int) -> None:
    first, second, third = sorted((a, b, c))
    third = min(third, first + int(500 * step_ms))
    second = min(second, third)
    grid = Grid(step_ms, step_ms / 3)
    assert list(grid.between(first, third)) == [*grid.between(first, second), *grid.between(second, third)]


def test_a_filled_hole_has_no_ticks_and_is_told_when_it_is_over() -> None:
    candles = [BAR, BAR._replace(open_ms=4 * MINUTE_MS)]
    items = list(PathMaker(Grid(20_000.0), 2).play(fill_gaps(candles, 10), 0))
    assert not any(isinstance(item, Quote) and 2 * MINUTE_MS <= item.event_ms < 4 * MINUTE_MS for _, item in items)
    told = [(at, type(item).__name__) for at, item in items if at == 4 * MINUTE_MS]
    assert told == [(4 * MINUTE_MS, name) for name in ("Hole", "Candle", "Candle", "Quote")]


def test_an_empty_minute_has_no_ticks_and_closes_at_its_own_end() -> None:
    candles = [BAR, BAR._replace(open_ms=2 * MINUTE_MS, volume=0.0), BAR._replace(open_ms=3 * MINUTE_MS)]
    items = list(PathMaker(Grid(20_000.0), 2).play(fill_gaps(candles, 10), 0))
    assert not any(isinstance(item, Quote) and 2 * MINUTE_MS <= item.event_ms < 3 * MINUTE_MS for _, item in items)
    bars = [(at, item.synthetic) for at, item in items if isinstance(item, Candle)]
    assert bars == [(2 * MINUTE_MS, False), (3 * MINUTE_MS, True), (4 * MINUTE_MS, False)]
