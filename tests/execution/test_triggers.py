"""One rule for what fires stops, targets and trailing stops."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Intent, OrderKind, Side
from levibot.execution.triggers import is_reached, trailed, trigger_price
from tests.execution.examples import D, leave, tick


def test_the_last_trade_counts_and_without_one_the_side_that_is_dealt_on() -> None:
    traded, quoted = tick(100.0, bid=98.0, ask=102.0), tick(0.0, bid=98.0, ask=102.0)
    assert [trigger_price(traded, side) for side in ("sell", "buy")] == [100.0, 100.0]
    assert [trigger_price(quoted, side) for side in ("sell", "buy")] == [98.0, 102.0]


@pytest.mark.parametrize(
    ("kind", "side", "below"),
    [
        ("stop", "sell", True),
        ("trailing_stop", "sell", True),
        ("take_profit", "sell", False),
        ("stop", "buy", False),
        ("take_profit", "buy", True),
    ],
)
def test_stops_fire_on_the_losing_side_and_targets_on_the_other(kind: OrderKind, side: Side, below: bool) -> None:
    order = leave("1", side=side, kind=kind)
    assert is_reached(order, 95.0, 95.0)
    assert is_reached(order, 95.0, 94.0) is below
    assert is_reached(order, 95.0, 96.0) is not below
    assert not is_reached(order, 0.0, 95.0), "a trailing stop that has no trigger yet"


def _trailing(side: Side, trigger: str | None) -> Intent:
    price = D(trigger) if trigger else None
    return leave("1", side=side, kind="trailing_stop", trailing_offset=D(5), trigger_price=price)


@pytest.mark.parametrize(
    ("side", "trigger", "price", "new"),
    [
        ("sell", None, "100", "95"),
        ("sell", "95", "100.4", None),  # less than a step
        ("sell", "95", "100.5", "95.5"),
        ("sell", "95", "97", None),
        ("buy", None, "100", "105"),
        ("buy", "105", "99.6", None),
        ("buy", "105", "99", "104"),
        ("sell", None, "4", None),  # a trigger of nothing
    ],
)
def test_a_trailing_stop_follows_in_steps(side: Side, trigger: str | None, price: str, new: str | None) -> None:
    assert trailed(_trailing(side, trigger), D(price)) == (D(new) if new else None)


@given(st.sampled_from(["sell", "buy"]), st.lists(st.integers(600, 90_000), min_size=1, max_size=50))
def test_it_never_gives_way_and_is_never_further_behind_than_a_step(side: Side, cents: list[int]) -> None:
    order, best = _trailing(side, None), None
    for price in (D(value) / 100 for value in cents):
        best = price if best is None else max(best, price) if side == "sell" else min(best, price)
        moved = trailed(order, price)
        if moved is not None:
            known = order.trigger_price
            assert known is None or (moved > known if side == "sell" else moved < known)
            order = _trailing(side, str(moved))
        assert order.trigger_price is not None
        ideal = best - 5 if side == "sell" else best + 5
        assert abs(ideal - order.trigger_price) < Decimal("0.5")
