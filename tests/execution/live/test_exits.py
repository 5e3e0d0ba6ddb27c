"""Leaving a position: in every order of events, with every answer lost, what was bought is sold once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from levibot.errors import ExchangeRefusedError
from levibot.exchange.trading import Placement
from levibot.execution.ids import ClientId
from tests.execution.live.guarded import GuardedHouse, Interfering
from tests.execution.live.house import CANCEL, INSTANCE, LOOK, ORDER, SYMBOL, D

DUST = D("0.0001")


def test_an_exit_cancels_the_stop_and_then_sells_what_there_is(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        (stop,) = life.resting("stop")
        left = life.submit(guarded.leave("0.01"))
        await guarded.until_closed(life)
        assert [order.client_id for order in guarded.sales] == [left]
        assert life.kinds(stop.intent.client_id)[-1] == "Cancelled"
        guarded.check(life)

    guarded.play(scenario)


def test_after_a_partial_exit_the_stop_covers_what_is_left(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        await life.until_over(life.submit(guarded.leave("0.004")))
        await guarded.until_settled(life)
        (target,) = life.resting("take_profit")
        assert target.remaining == sum(order.remaining for order in life.resting("stop"))
        assert D("0.005") < target.remaining <= D("0.006")
        guarded.check(life)

    guarded.play(scenario)


def test_a_limit_exit_waits_for_its_price_with_the_stop_in_place(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        left = life.submit(guarded.leave("0.009", kind="limit", limit_price=guarded.at("1.02")))
        await life.until(lambda: "Accepted" in life.kinds(left), "accepted")
        assert len(guarded.stops_at_exchange()) == (1 if guarded.keeps_stops else 0)
        guarded.move("1.03", life)
        await life.until_over(left)
        (sale,) = guarded.sales
        assert (sale.client_id, sale.filled) == (left, D("0.009"))
        guarded.check(life)

    guarded.play(scenario)


def test_a_stop_that_fires_while_an_exit_cancels_it_leaves_nothing_to_sell(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        crash = Interfering(guarded.trading, cancel=lambda: guarded.move("0.94"))
        life = await guarded.open(trading=crash)
        await guarded.bought(life)
        left = life.submit(guarded.leave("0.01"))
        await guarded.until_closed(life)
        if guarded.keeps_stops:
            assert "nothing left to reduce" in life.reason(left)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


@pytest.mark.parametrize(
    ("kind", "request_"),
    [("lost_answer", ORDER), ("html", ORDER), ("lost_answer", CANCEL), ("html", CANCEL), ("lost_answer", LOOK)],
)
def test_lost_answers_at_each_step_of_an_exit_sell_once(guarded: GuardedHouse, kind: Any, request_: str) -> None:
    if request_ == CANCEL and not guarded.keeps_stops:
        pytest.skip("nothing is cancelled")

    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        guarded.exchange.arm(kind, request_, times=2)
        life.submit(guarded.leave("0.01"))
        await guarded.until_closed(life)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


@pytest.mark.parametrize("kind", ["lost_answer", "html"])
def test_a_stop_whose_answer_is_lost_is_placed_once(guarded: GuardedHouse, kind: Any) -> None:
    if not guarded.keeps_stops:
        pytest.skip("the broker keeps the stop")

    async def scenario() -> None:
        life = await guarded.open()
        guarded.exchange.arm(kind, ORDER, times=1, skip=1)
        await guarded.bought(life)
        assert len(guarded.stops_at_exchange()) == 1
        guarded.check(life)

    guarded.play(scenario)


def test_a_stop_that_is_cancelled_behind_our_back_is_replaced(guarded: GuardedHouse) -> None:
    if not guarded.keeps_stops:
        pytest.skip("the broker keeps the stop")

    async def scenario() -> None:
        life = await guarded.open(reconcile_interval=0.2)
        await guarded.bought(life)
        (stop,) = guarded.stops_at_exchange()
        guarded.exchange.run(lambda exchange: exchange.matching.cancel(guarded.account, stop))
        await life.until(
            lambda: [one.client_id for one in guarded.stops_at_exchange()] not in ([], [stop.client_id])
        )
        await guarded.until_settled(life)
        guarded.check(life)

    guarded.play(scenario)


class Refusing:
    """An exchange that definitely refuses some orders."""

    def __init__(self, trading: Any, *kinds: str) -> None:
        self._trading = trading
        self.kinds = set(kinds)
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trading, name)

    async def place(self, placement: Placement) -> Any:
        if placement.side == "sell" and placement.kind in self.kinds:
            self.refused += 1
            raise ExchangeRefusedError("order", "not today")
        return await self._trading.place(placement)


def test_what_no_stop_can_be_placed_for_is_sold_at_once(guarded: GuardedHouse) -> None:
    if not guarded.keeps_stops:
        pytest.skip("the broker keeps the stop")

    async def scenario() -> None:
        life = await guarded.open(trading=Refusing(guarded.trading, "stop"))
        life.submit(guarded.entry("0.01", stop_loss=guarded.at("0.95")))
        await life.until(lambda: guarded.sales, "sold")
        await guarded.until_closed(life)
        (sale,) = guarded.sales
        assert sale.client_id.endswith("-M")
        assert any("could not be placed" in text and "not today" in text for text in life.troubles)
        guarded.check(life)

    guarded.play(scenario)


def test_an_emergency_exit_that_is_refused_freezes_the_symbol_and_is_tried_again(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        refusing = Refusing(guarded.trading, "market", "stop")
        life = await guarded.open(trading=refusing)
        life.submit(guarded.entry("0.01", stop_loss=guarded.at("0.95")))
        if not guarded.keeps_stops:
            await guarded.until_settled(life)
        guarded.move("0.94", life)
        await life.until(lambda: refusing.refused >= (3 if guarded.keeps_stops else 2), "tried again")
        assert life.bare()
        assert len(life.resting("stop")) == 1  # the broker goes on to watch
        assert "emergency exit" in life.venue.live_report().frozen[SYMBOL]
        refusing.kinds.clear()
        await guarded.until_closed(life)
        assert not life.venue.live_report().frozen
        guarded.check(life)

    guarded.play(scenario)


def test_a_target_that_cannot_be_sold_has_its_stop_back_at_once(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        refusing = Refusing(guarded.trading, "market")
        life = await guarded.open(trading=refusing)
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        (stop,) = life.resting("stop")
        guarded.move("1.06", life)
        await life.until(lambda: refusing.refused, "refused")
        await life.until(lambda: life.venue.live_report().frozen, "frozen")
        await life.until(lambda: len(guarded.stops_at_exchange()) == guarded.keeps_stops, "put back")
        assert (stop in life.resting("stop")) is not guarded.keeps_stops
        refusing.kinds.clear()
        guarded.move("0.94", life)
        await guarded.until_closed(life)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


def test_a_silent_feed_is_replaced_by_the_exchanges_own_prices(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        guarded.move("1.06")  # and the feed says nothing of it
        await guarded.until_closed(life)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


def test_what_is_too_small_is_dust_and_is_not_tried_again(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        await life.until_over(life.submit(guarded.leave("0.00995")))
        assert D(0) < life.position < DUST
        await life.until(lambda: not life.books.open, "protection is withdrawn")
        left = life.submit(guarded.leave(str(life.position)))
        assert "dust" in life.reason(left)
        assert not life.bare()
        guarded.check(life)

    guarded.play(scenario)


def test_a_feed_that_is_stale_is_not_believed_though_it_goes_on(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        life.venue.set_market(guarded.session.spec(SYMBOL), "no frame for 20 s")
        guarded.tell(life, guarded.at("2"))
        assert life.resting("take_profit")
        guarded.move("1.06")
        while life.position > DUST or life.books.open:
            guarded.tell(life, guarded.at("1"))
            await asyncio.sleep(0.02)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


def test_what_protects_is_sent_from_the_reserve_of_the_rate_limit(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        watching = Noting(guarded.trading)
        life = await guarded.open(trading=watching)
        await guarded.bought(life)
        life.submit(guarded.leave("0.01"))
        await guarded.until_closed(life)
        assert {one.is_protective for one in watching.placed if one.side == "sell"} == {True}
        assert {one.is_protective for one in watching.placed if one.side == "buy"} == {False}

    guarded.play(scenario)


class Noting:
    """Remembers what was placed."""

    def __init__(self, trading: Any) -> None:
        self._trading = trading
        self.placed: list[Placement] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trading, name)

    async def place(self, placement: Placement) -> Any:
        self.placed.append(placement)
        return await self._trading.place(placement)


def test_a_stop_of_a_former_ledger_becomes_the_positions_own_and_nothing_is_sold(guarded: GuardedHouse) -> None:
    if not guarded.keeps_stops:
        pytest.skip("the broker keeps the stop, and its ledger is gone")

    async def scenario() -> None:
        life = await guarded.open(reconcile_interval=0.2)
        entry = str(ClientId(INSTANCE, "aaaaaaaa", 1, "entry"))
        await guarded.trading.place(Placement(entry, SYMBOL, "buy", "market", D("0.01")))
        quantity, trigger = D("0.00999"), guarded.at("0.95")
        stop = str(ClientId(INSTANCE, "aaaaaaaa", 2, "stop"))
        await guarded.trading.place(Placement(stop, SYMBOL, "sell", "stop", quantity, trigger_price=trigger))
        await life.until(lambda: "Cancelled" in life.kinds(stop), "replaced")
        await guarded.until_settled(life)
        (own,) = guarded.stops_at_exchange()
        assert own.client_id != stop
        assert own.request.stop_price == trigger
        assert not guarded.sales
        guarded.check(life)

    guarded.play(scenario)
