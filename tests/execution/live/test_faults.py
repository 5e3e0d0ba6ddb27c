"""Every fault of an order: exactly one fill for each intent, whatever the exchange answers or does not."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.execution.orders import OrderState
from levibot.execution.refusals import Refusal
from tests.execution.live.house import CANCEL, LOOK, ORDER, SYMBOL, Hiding, LiveHouse

NEVER_TAKEN: list[tuple[str, dict[str, Any]]] = [("status", {"status": 503}), ("reset", {})]


@pytest.mark.parametrize(("kind", "details"), NEVER_TAKEN)
def test_an_order_that_never_arrived_is_rejected_after_a_time_and_not_sent_again(
    house: LiveHouse, kind: str, details: Any
) -> None:
    async def scenario() -> None:
        life = await house.begin()
        house.exchange.arm(kind, ORDER, times=1, **details)
        asked = len(house.exchange.log.asked(ORDER))
        lost = life.submit(house.entry())
        await life.until(lambda: "Unknown" in life.kinds(lost))
        report = life.venue.live_report()
        assert report.unknown_orders == 1
        assert lost in report.frozen[SYMBOL]
        barred = life.submit(house.entry())
        assert life.reason(barred).startswith(Refusal.FROZEN)
        await life.until_over(lost)
        assert life.kinds(lost) == ["Submitted", "Sent", "Unknown", "Rejected"]
        assert life.reason(lost).startswith(Refusal.NEVER_ARRIVED)
        assert len(house.exchange.log.asked(ORDER)) == asked + 1
        later = life.submit(house.entry())  # thawed
        await life.until_over(later)
        house.check(life)

    house.play(scenario)


def test_an_exchange_that_cannot_be_asked_leaves_an_order_unknown(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(unknown_after=0.2)
        house.exchange.arm("lost_answer", ORDER, times=1)
        fault = house.exchange.arm("status", LOOK, status=503)
        bought = life.submit(house.entry())
        await life.until(lambda: fault.struck > 3)
        assert life.books.open[bought].state is OrderState.UNKNOWN
        house.exchange.clear()
        await life.until_over(bought)
        assert life.kinds(bought)[-1] == "Filled"
        house.check(life)

    house.play(scenario)


def test_an_order_in_doubt_that_is_found_among_the_open_ones_freezes_nothing_any_more(house: LiveHouse) -> None:
    async def scenario() -> None:
        hiding = Hiding(house.trading, times=10**6)
        life = house.make(trading=hiding, unknown_after=60.0, reconcile_interval=0.1)
        life.start()
        await life.until_ready()
        house.price(life)
        house.exchange.arm("lost_answer", ORDER, times=1)
        resting = life.submit(house.limit("0.9"))
        await life.until(lambda: life.kinds(resting)[-1] == "Accepted", "found")
        hiding.times = 0
        assert life.venue.live_report().frozen == {}
        await house.cancel(life, resting)

    house.play(scenario)


def test_an_entry_in_doubt_that_is_to_be_cancelled_holds_up_no_exit(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(unknown_after=3.0)
        await life.until_over(life.submit(house.entry()))
        house.exchange.arm("reset", ORDER, times=1)
        lost = life.submit(house.limit("0.9"))
        await life.until(lambda: "Unknown" in life.kinds(lost))
        life.venue.cancel(SYMBOL, lost)
        await life.until_over(life.submit(house.leave()))
        assert life.books.open[lost].state is OrderState.UNKNOWN
        await life.until_over(lost)
        house.check(life)

    house.play(scenario)


def test_a_cancellation_that_is_asked_for_again_and_again_is_tried_once_at_a_time(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        resting = life.submit(house.limit("0.9"))
        await life.until(lambda: "Accepted" in life.kinds(resting))
        desk = life.exits[SYMBOL].desk
        fault = house.exchange.arm("status", CANCEL, status=503)
        for _ in range(50):
            life.venue.cancel(SYMBOL, resting)
        await life.until(lambda: fault.struck > 1)
        for _ in range(50):
            life.venue.cancel(SYMBOL, resting)
        assert len(desk._jobs) < 3
        house.exchange.clear()
        await life.until_over(resting)
        assert desk.tracker.reasons == {}

    house.play(scenario)


def test_no_such_order_said_once_is_no_absence(house: LiveHouse) -> None:
    async def scenario() -> None:
        hiding = Hiding(house.trading, times=2)
        life = house.make(trading=hiding)
        life.start()
        await life.until_ready()
        house.price(life)
        house.exchange.arm("lost_answer", ORDER, times=1)
        bought = life.submit(house.entry())
        await life.until_over(bought)
        assert hiding.times == 0
        assert "Unknown" in life.kinds(bought)
        assert life.kinds(bought)[-1] == "Filled"
        house.check(life)

    house.play(scenario)


def test_a_cancel_that_comes_too_late_counts_the_fill(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        resting = life.submit(house.limit("0.99"))
        await life.until(lambda: "Accepted" in life.kinds(resting))
        house.trade_through(resting)
        life.venue.cancel(SYMBOL, resting)
        await life.until_over(resting)
        assert life.kinds(resting)[-1] == "Filled"
        house.check(life)

    house.play(scenario)


def test_a_partial_fill_while_nobody_could_ask_is_counted_once(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        resting = life.submit(house.limit("0.99"))
        await life.until(lambda: "Accepted" in life.kinds(resting))
        house.exchange.arm("refuse")
        house.trade_through(resting, "0.004")
        house.price(life)
        await life.until(lambda: life.troubles)
        house.exchange.clear()
        await life.until(lambda: "PartiallyFilled" in life.kinds(resting))
        assert life.books.open[resting].filled == house.at_exchange(resting)[0].filled
        for _ in range(3):  # asked again and again: nothing new
            await life.venue.reconciler.once()
        house.trade_through(resting)
        await life.venue.reconciler.once()
        await life.until_over(resting)
        assert life.kinds(resting)[-2:] == ["PartiallyFilled", "Filled"]
        house.check(life)

    house.play(scenario)


def test_answers_that_come_twice_change_nothing(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        intent = house.limit("0.99")
        resting = life.submit(intent)
        await life.until(lambda: "Accepted" in life.kinds(resting))
        house.trade_through(resting, "0.004")
        await life.venue.reconciler.once()
        order, desk = life.books.open[resting], life.exits[SYMBOL].desk
        told = await house.trading.order(SYMBOL, resting, order.exchange_id)
        assert told is not None
        trades = await house.trading.trades_of(SYMBOL, order.exchange_id, told.created_ms)
        seq = life.books.seq
        for _ in range(2):
            await desk.done(lambda: desk.tracker.apply(order, told))
            await desk.done(lambda: desk.tracker.count(order, [*trades, *trades]))
            assert life.venue.submit(intent) == []
        assert life.books.seq == seq
        assert len(house.at_exchange(resting)) == 1
        await house.cancel(life, resting)
        house.check(life)

    house.play(scenario)


def test_a_definite_refusal_is_told_and_nothing_rests(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        with life.books.transaction(0):
            life.books.move_funds("USDT", house.account.balances["USDT"].free * 3, "correction", "for this test")
        poor = life.submit(house.entry("3"))
        await life.until_over(poor)
        assert life.kinds(poor) == ["Submitted", "Sent", "Rejected"]
        assert not house.at_exchange(poor)

    house.play(scenario)


def test_too_many_requests_reject_an_entry_and_hold_back_an_exit(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        bought = life.submit(house.entry())
        await life.until_over(bought)
        house.exchange.arm("status", ORDER, status=429, retry_after=1, times=1)
        refused = life.submit(house.entry())
        await life.until_over(refused)
        assert life.reason(refused).startswith(Refusal.NOT_TAKEN)
        sold = life.submit(house.leave())
        await life.until_over(sold)
        assert life.kinds(sold)[-1] == "Filled"
        house.check(life)

    house.play(scenario)
