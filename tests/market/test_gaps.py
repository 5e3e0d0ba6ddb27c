"""Each hole is reported once and, if it is short, filled with bars that say they are synthetic."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import read_candles
from levibot.market.gaps import Hole, fill_gaps
from tests.market.real_data import real_data


def candle(minute: int) -> Candle:
    price = 100.0 + minute
    return Candle(minute * MINUTE_MS, price, price, price, price, 1.0)


@given(st.sets(st.integers(0, 60)), st.integers(0, 12))
def test_filled_minutes_follow_each_other_and_holes_are_told_once(minutes: set[int], longest: int) -> None:
    given_bars = [candle(minute) for minute in sorted(minutes)]
    items = list(fill_gaps(given_bars, longest))
    bars = [item for item in items if isinstance(item, Candle)]
    holes = [item for item in items if isinstance(item, Hole)]
    assert [bar for bar in bars if not bar.synthetic] == given_bars
    steps = [after.open_ms - before.open_ms for before, after in itertools.pairwise(bars)]
    open_holes = [hole for hole in holes if not hole.filled]
    assert sorted(step for step in steps if step != MINUTE_MS) == sorted(
        (hole.missing + 1) * MINUTE_MS for hole in open_holes
    )
    assert all(hole.missing > longest for hole in open_holes)
    assert sum(hole.missing for hole in holes) == (
        max(minutes) - min(minutes) + 1 - len(minutes) if minutes else 0
    )


def test_synthetic_bars_carry_the_last_close_and_no_volume() -> None:
    before, hole, *filled, after = fill_gaps([candle(1), candle(4)], 2)
    assert hole == Hole(2 * MINUTE_MS, 2, True)
    assert filled == [Candle(minute * MINUTE_MS, 101, 101, 101, 101, 0.0, True) for minute in (2, 3)]
    assert (before, after) == (candle(1), candle(4))


def test_a_bar_without_volume_is_flagged_and_keeps_its_prices() -> None:
    empty = Candle(2 * MINUTE_MS, 5.0, 6.0, 4.0, 5.5, 0.0)
    assert list(fill_gaps([candle(1), empty], 2)) == [candle(1), empty._replace(synthetic=True)]


def test_the_real_outage_of_march_2023_is_one_hole_of_80_minutes() -> None:
    table = read_candles(real_data("candles", "binance-spot-2023-03") / "BTCUSDT-1m.csv.gz")
    items = list(fill_gaps(table.from_index(0), 120))
    (hole,) = [item for item in items if isinstance(item, Hole)]
    assert (hole.missing, hole.filled) == (80, True)
    bars = [item for item in items if isinstance(item, Candle)]
    silent = [bar for bar in bars if bar.volume == 0]
    assert len(silent) == 72 + 80
    assert [bar for bar in bars if bar.synthetic] == silent  # the exchange's own empty bars are no better
    assert len(bars) == len(table) + 80


def test_the_outage_is_left_open_where_the_limit_is_lower() -> None:
    table = read_candles(real_data("candles", "binance-spot-2023-03") / "BTCUSDT-1m.csv.gz")
    items = list(fill_gaps(table.from_index(0), 79))
    assert [item.filled for item in items if isinstance(item, Hole)] == [False]
    assert sum(item.synthetic for item in items if isinstance(item, Candle)) == 72


@pytest.mark.long
def test_a_year_of_bitfinex_has_3992_holes_and_no_minute_too_many() -> None:
    table = read_candles(real_data("candles", "bitfinex-2018") / "BTCUSD_1m_2018.csv.gz")
    holes = minutes = 0
    for item in fill_gaps(table.from_index(0), 120):
        if isinstance(item, Hole):
            holes += 1
            assert item.filled
            assert item.missing <= 107
        else:
            minutes += 1
    assert (holes, minutes) == (3992, 365 * 24 * 60)
