"""What protection a position should have, compared with what rests: nothing but rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from levibot.bus.messages import OrderKind
from levibot.execution.live.wanted import Wanted, differences, wanted_for
from levibot.execution.lots import Lot
from levibot.execution.orders import Order, OrderState
from tests.execution.examples import D, leave, market

MARKET = market(min_cost=D(5), amount_step=D("0.01"), price_tick=D("0.1"))


def lot(name: str, quantity: str, stop: str | None = "100", target: str | None = None, **more: Any) -> Lot:
    """A lot of an entry that is called `name`."""
    return Lot(name, D(quantity), D(stop) if stop else None, D(target) if target else None, more.get("trail"))


def resting(name: str, kind: OrderKind, quantity: str, state: OrderState = OrderState.ACCEPTED) -> Order:
    """A protective order of the entry `name`."""
    intent = leave(quantity, kind=kind, role="stop", parent_id=name, trigger_price=D(100))
    return Order(intent, state)


def test_each_lot_has_its_own_stop_target_and_trailing_stop_in_the_steps_of_the_market() -> None:
    wanted = wanted_for([lot("a", "0.1999", "99.97", "120.08", trail=D(3)), lot("b", "1", "90")], MARKET)
    assert wanted == [
        Wanted("a", "stop", D("0.19"), D("99.9")),
        Wanted("a", "take_profit", D("0.19"), D("120.0")),
        Wanted("a", "trailing_stop", D("0.19"), D("99.9"), D(3)),
        Wanted("b", "stop", D("1.00"), D("90.0")),
    ]


@pytest.mark.parametrize(
    ("quantities", "stops"),
    [
        (("0.049", "1"), {"b": "1.04"}),  # dust goes along with the next lot
        (("1", "0.049"), {"a": "1.04"}),  # and with the last one if there is no next
        (("0.03", "0.03"), {"b": "0.06"}),  # two that are too small can be large enough together
        (("0.02", "0.02"), {}),  # dust
    ],
)
def test_what_is_too_small_for_a_stop_goes_along_with_another_lot(
    quantities: tuple[str, str], stops: dict[str, str]
) -> None:
    wanted = wanted_for([lot("a", quantities[0]), lot("b", quantities[1])], MARKET)
    assert {one.entry_id: str(one.quantity) for one in wanted} == stops


def test_an_entry_without_protection_wants_none() -> None:
    assert wanted_for([lot("a", "1", None)], MARKET) == []


def test_differences_are_what_is_missing_of_another_size_and_needless() -> None:
    stop, target, old = resting("a", "stop", "1"), resting("a", "take_profit", "2"), resting("z", "stop", "1")
    wanted = wanted_for([lot("a", "1", "100", "120", trail=D(2))], MARKET)
    found = differences(wanted, [stop, target, old])
    assert [one.kind for one in found.missing] == ["trailing_stop"]
    assert found.resized == [(target, Decimal(1))]
    assert found.needless == [old]
    assert not differences(wanted[:1], [stop])


@pytest.mark.parametrize("state", [OrderState.TRIGGERED, OrderState.SENT, OrderState.UNKNOWN])
def test_an_order_on_its_way_out_is_neither_changed_nor_replaced(state: OrderState) -> None:
    assert not differences(wanted_for([lot("a", "2")], MARKET), [resting("a", "stop", "1", state)])


def test_orders_that_belong_to_no_entry_are_left_alone() -> None:
    own = Order(leave("1", kind="take_profit", trigger_price=D(120)), OrderState.ACCEPTED)
    assert not differences([], [own])
