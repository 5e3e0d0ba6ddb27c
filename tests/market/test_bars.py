"""A bar that is built from trades shows exactly what was traded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, BarBuilder, Candle

TRADE = st.tuples(st.integers(0, 5 * MINUTE_MS), st.floats(1, 9), st.floats(0, 3), st.booleans())


@given(st.lists(TRADE, min_size=1))
def test_bars_built_from_trades_hold_each_trade_once(trades: list[tuple[int, float, float, bool]]) -> None:
    trades.sort(key=lambda trade: trade[0])
    builder = BarBuilder()
    closing = (10 * MINUTE_MS, 1.0, 1.0, False)
    added = [builder.add(at, price, amount, amount * bought) for at, price, amount, bought in [*trades, closing]]
    bars = [bar for bar in added if bar is not None]
    for bar in bars:
        own = [trade for trade in trades if bar.open_ms <= trade[0] < bar.close_ms]
        prices = [price for _, price, *_ in own]
        assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar.volume == pytest.approx(sum(amount for _, _, amount, _ in own))
        assert bar.buy_volume == pytest.approx(sum(amount for _, _, amount, bought in own if bought))
        assert bar.trades == len(own)
    assert len({bar.open_ms for bar in bars}) == len(bars) == len({at // MINUTE_MS for at, *_ in trades})


def test_a_side_that_is_not_told_makes_only_the_bought_amount_unknown() -> None:
    builder = BarBuilder()
    builder.add(1, 5.0, 2.0, 2.0)
    builder.add(2, 6.0, 1.0, math.nan)
    bar = builder.add(MINUTE_MS, 5.0, 1.0, 1.0)
    assert bar is not None
    assert math.isnan(bar.buy_volume)
    assert (bar.volume, bar.trades) == (3.0, 2)


def test_a_late_trade_changes_no_later_bar() -> None:
    builder = BarBuilder()
    builder.add(MINUTE_MS, 5.0, 1.0, 1.0)
    assert builder.add(MINUTE_MS - 1, 6.0, 1.0, 1.0) is None
    bar = builder.add(2 * MINUTE_MS, 7.0, 1.0, 1.0)
    assert bar is not None
    assert (bar.high, bar.volume) == (5.0, 1.0)
    assert builder.late == 1


def test_a_bar_of_the_exchange_keeps_what_was_seen_here_and_a_synthetic_one_does_not() -> None:
    seen = Candle(0, 1.0, 2.0, 1.0, 2.0, 5.0, False, 3.0, 7.0, 0.001, -0.5)
    truth = Candle(0, 1.0, 3.0, 1.0, 2.0, 5.001)  # rounded by the exchange
    assert truth.with_flow_of(seen) == Candle(0, 1.0, 3.0, 1.0, 2.0, 5.001, False, 3.0, 7.0, 0.001, -0.5)
    more = truth._replace(volume=6.0).with_flow_of(seen)
    assert math.isnan(more.buy_volume)
    assert math.isnan(more.trades)
    assert (more.spread, more.imbalance) == (0.001, -0.5)
    empty = Candle(0, 1.0, 1.0, 1.0, 1.0, 0.0, True)
    assert empty.with_flow_of(seen) == empty
