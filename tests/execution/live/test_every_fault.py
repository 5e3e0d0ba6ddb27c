"""Every fault of an order in one table, in both dialects: each intent is filled exactly as often as it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from tests.execution.live.house import CANCEL, LOOK, ORDER, LiveHouse


class Fault(NamedTuple):
    """What goes wrong once, and how often an order whose request it strikes is filled."""

    kind: Any
    taken: bool = True  # the request was carried out, whatever was answered
    unseen: int = 0  # so many looks say that there is no such order


TWICE = "the request arrives twice, and the second answer here"
FAULTS = {
    "the answer is lost": Fault("lost_answer"),
    "the answer is lost, then there is no such order": Fault("lost_answer", unseen=2),
    "5xx": Fault("status", taken=False),
    "reset": Fault("reset", taken=False),
    "HTML with 200": Fault("html"),
    "half an answer": Fault("truncated"),
    "bad JSON": Fault("bad_json"),
    TWICE: Fault("repeated"),
}
Play = Callable[[LiveHouse, Fault], Awaitable[None]]


async def buy_and_sell(house: LiveHouse, fault: Fault) -> None:
    """Struck are the creation of an entry, then that of its exit."""
    life = await house.begin()
    if not fault.taken:
        await life.until_over(life.submit(house.entry()))
    for intent in (house.entry(), house.leave()):
        armed = arm(house, fault, ORDER)
        struck = life.submit(intent)
        await life.until_over(struck)
        assert_filled(house, life, struck, 1 if fault.taken else 0)
        assert armed.struck == 1
        house.exchange.clear()
    house.check(life)


async def rest_and_be_filled(house: LiveHouse, fault: Fault) -> None:
    """Struck is the creation of an entry that rests, and is filled in two parts."""
    life = await house.begin()
    armed = arm(house, fault, ORDER)
    resting = life.submit(house.limit("0.99"))
    if fault.taken:
        await life.until(lambda: house.at_exchange(resting))
        house.trade_through(resting, "0.004")
        house.trade_through(resting)
        await life.until(lambda: "Accepted" in life.kinds(resting))
        await life.venue.reconciler.once()
    await life.until_over(resting)
    assert armed.struck == 1
    assert_filled(house, life, resting, 2 if fault.taken else 0)
    house.check(life)


async def cancel(house: LiveHouse, fault: Fault) -> None:
    """Struck is the cancellation of an entry that rests."""
    life = await house.begin()
    resting = life.submit(house.limit("0.9"))
    await life.until(lambda: "Accepted" in life.kinds(resting))
    armed = arm(house, fault, CANCEL)
    await house.cancel(life, resting)
    assert armed.struck == 1
    assert_filled(house, life, resting, 0)
    assert house.at_exchange(resting)[0].status == "canceled"
    house.check(life)


async def cancel_after_a_partial_fill(house: LiveHouse, fault: Fault) -> None:
    """Struck is the cancellation of an entry that was filled in part while nobody could hear of it."""
    life = await house.begin()
    resting = life.submit(house.limit("0.99"))
    await life.until(lambda: "Accepted" in life.kinds(resting))
    house.exchange.arm("refuse")
    house.trade_through(resting, "0.004")
    house.exchange.clear()
    armed = arm(house, fault, CANCEL)
    await house.cancel(life, resting)
    assert armed.struck == 1
    assert life.kinds(resting)[-2:] == ["PartiallyFilled", "Cancelled"]
    assert life.kinds(resting).count("PartiallyFilled") == 1
    house.check(life)


def arm(house: LiveHouse, fault: Fault, request: str) -> Any:
    armed = house.exchange.arm(fault.kind, request, times=1)
    if fault.unseen:
        house.exchange.arm("no_such_order", LOOK, times=fault.unseen)
    return armed


def assert_filled(house: LiveHouse, life: Any, client_id: str, least: int) -> None:
    """All that it asked for or nothing, in one order at most, with each fill of the exchange once in the books."""
    orders = house.at_exchange(client_id)
    assert len(orders) == (1 if least or orders else 0)
    there = sum(len(order.fills) for order in orders)
    counted = [kind for kind in life.kinds(client_id) if kind.endswith("Filled")]
    assert len(counted) == there >= least
    if not least:
        assert not there
    else:
        assert (life.kinds(client_id)[-1], orders[0].remaining) == ("Filled", 0)


PLAYS: tuple[Play, ...] = (buy_and_sell, rest_and_be_filled, cancel, cancel_after_a_partial_fill)
# Of a market order that came twice an exchange makes two, since the first is over: nobody sends one twice.
CASES = [(name, play) for name in FAULTS for play in PLAYS if (name, play) != (TWICE, buy_and_sell)]


@pytest.mark.parametrize(("name", "play"), CASES)
def test_each_intent_is_filled_once_or_not_at_all(house: LiveHouse, name: str, play: Play) -> None:
    house.play(lambda: play(house, FAULTS[name]))
