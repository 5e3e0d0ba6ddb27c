"""Closed bars are kept once, in order and bounded; a forming bar shows exactly what was traded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, Appended, BarBuilder, BarSeries, Candle


def candle(minute: int, price: float = 10.0) -> Candle:
    return Candle(minute * MINUTE_MS, price, price + 1, price - 1, price + 0.5, 2.0)


def test_a_series_tells_next_known_and_jump() -> None:
    series = BarSeries(10)
    assert series.append(candle(5)) is Appended.NEXT
    assert series.append(candle(6)) is Appended.NEXT
    assert series.append(candle(6)) is Appended.KNOWN
    assert series.append(candle(3)) is Appended.KNOWN
    assert series.append(candle(9)) is Appended.JUMP
    assert list(series.opening_times()) == [5 * MINUTE_MS, 6 * MINUTE_MS, 9 * MINUTE_MS]
    assert series.appended == 3


@given(st.integers(1, 7), st.lists(st.integers(0, 40)))
def test_a_series_keeps_the_newest_bars_as_a_bounded_list_would(capacity: int, minutes: list[int]) -> None:
    series, expected = BarSeries(capacity), [candle(-1)]
    for minute in minutes:
        bar = candle(minute, 10.0 + minute)
        series.append(bar)
        if bar.open_ms > expected[-1].open_ms:
            expected.append(bar)
    kept = expected[1:][-capacity:]
    assert len(series) == len(kept)
    assert [series[index] for index in range(len(series))] == kept
    assert [series[index - len(kept)] for index in range(len(kept))] == kept
    assert list(series.closes()) == [bar.close for bar in kept]
    assert list(series.highs(3)) == [bar.high for bar in kept[-3:]]
    assert list(series.volumes(0)) == []
    assert series.last_ms == (kept[-1].open_ms if kept else None)
    with pytest.raises(IndexError):
        series[len(kept)]


def test_a_cleared_series_takes_older_bars_again() -> None:
    series = BarSeries()
    series.append(candle(5))
    series.clear()
    assert series.append(candle(1)) is Appended.NEXT
    assert series.last_close == 10.5


@given(st.lists(st.tuples(st.integers(0, 5 * MINUTE_MS), st.floats(1, 9), st.floats(0, 3)), min_size=1))
def test_bars_built_from_trades_hold_each_trade_once(trades: list[tuple[int, float, float]]) -> None:
    trades.sort(key=lambda trade: trade[0])
    builder = BarBuilder()
    bars = [bar for trade in trades if (bar := builder.add(*trade))]
    assert builder.forming is not None
    bars.append(builder.forming)
    for bar in bars:
        own = [trade for trade in trades if bar.open_ms <= trade[0] < bar.close_ms]
        prices = [price for _, price, _ in own]
        assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar.volume == pytest.approx(sum(volume for *_, volume in own))
    assert len({bar.open_ms for bar in bars}) == len(bars) == len({at // MINUTE_MS for at, *_ in trades})


def test_a_late_tick_changes_no_closed_bar() -> None:
    builder = BarBuilder()
    builder.add(MINUTE_MS, 5.0)
    builder.close(MINUTE_MS)
    assert builder.forming is None
    assert builder.add(MINUTE_MS + 59_999, 6.0) is None
    assert builder.forming is None
    assert builder.late == 1
