"""A coin of ours was sold by hand: what is missing is believed, told, and booked when an operator says so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from levibot.bus.messages import SettlePosition, SettleReport
from levibot.execution.precision import plain
from levibot.execution.refusals import Refusal
from tests.execution.live.guarded import GuardedHouse, GuardedLife
from tests.execution.live.house import SYMBOL, D

_OFTEN = {"reconcile_interval": 0.1}
_REASON = "settled by root: sold by phone"


def take(house: GuardedHouse, left: Decimal, proceeds: Decimal) -> None:
    """Somebody cancels all and sells all but `left`, at once."""

    def act(exchange: Any) -> None:
        for order in list(house.account.orders.values()):
            if order.open:
                exchange.matching.cancel(house.account, order)
        house.account.balances["BTC"].free = left
        house.account.balances["USDT"].free += proceeds

    house.exchange.run(act)


async def settle(life: GuardedLife, price: Decimal | None) -> SettleReport:
    answers: list[SettleReport] = []
    life.venue.settle(SettlePosition(1, SYMBOL, price, _REASON), answers.append)
    await life.until(lambda: answers, "an answer")
    return answers[0]


async def until_short(life: GuardedLife) -> None:
    await life.until(lambda: SYMBOL in life.venue.live_report().missing, "short")


def test_what_was_sold_by_hand_is_booked_and_the_symbol_thaws(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open(**_OFTEN)
        await guarded.bought(life, "0.02")
        guarded.tell(life, guarded.at("1"))
        held, cash, left = life.position, life.books.cash, D("0.005")
        sold = held - left
        take(guarded, left, sold * guarded.at("0.9"))
        await until_short(life)
        report = life.venue.live_report()
        assert report.missing == {SYMBOL: float(sold)}
        assert "BTC is short" in report.drift["BTC"]
        assert report.frozen[SYMBOL]
        await life.until(lambda: any(f"{SYMBOL}: FROZEN" in text for text in life.troubles))
        # Where the exchange refused the stop for all of it before the shortage was sure, what there was is sold.
        await life.until(
            lambda: life.position == sold or [one.remaining for one in life.resting("stop")] == [left],
            "the rest sold or protected",
        )
        held, cash, left = life.position, life.books.cash, life.position - sold
        dear = await settle(life, guarded.at("1"))
        assert "would have brought more than" in dear.refused
        assert life.position == held
        done = await settle(life, None)
        price = guarded.at("0.9")
        assert done.refused == ""
        assert done.booked.startswith(plain(sold))
        assert done.booked.endswith(f"booked as sold at {plain(price)}")
        assert (life.position, life.books.cash) == (left, cash + sold * guarded.at("0.9"))
        events = life.books.events_since(0)
        (fill,) = [e.fill for e in events if getattr(getattr(e, "fill", None), "price", 0) == price]
        assert fill.fill_id.startswith("settled-")
        (order,) = [e.intent for e in events if getattr(getattr(e, "intent", None), "reason", "")]
        assert (order.role, order.reason) == ("emergency", _REASON)
        await life.until(lambda: not life.venue.live_report().frozen, "thawed")
        await life.until(lambda: sum(one.remaining for one in life.resting("stop")) == left)
        assert any("frozen no more" in text for text in life.troubles)
        again = await settle(life, D(0))
        assert "nothing is missing" in again.refused

    guarded.play(scenario)


def test_an_exit_of_what_is_missing_says_so_and_what_is_lost_brings_nothing(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open(**_OFTEN)
        await guarded.bought(life)
        cash = life.books.cash
        take(guarded, D(0), D(0))
        await until_short(life)
        posted = len(guarded.orders)
        leave = life.submit(guarded.leave())
        await life.until_over(leave)
        assert life.reason(leave).startswith(Refusal.NO_BASE)
        assert "levibotctl settle BTC/USDT" in life.reason(leave)
        assert len(guarded.orders) == posted
        done = await settle(life, D(0))
        assert done.refused == ""
        assert (life.position, life.books.cash) == (D(0), cash)
        await life.until(lambda: not life.venue.live_report().frozen, "thawed")
        assert not life.books.open

    guarded.play(scenario)


def test_nothing_is_settled_that_is_not_missing(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open(**_OFTEN)
        await guarded.bought(life)
        held = life.position
        report = await settle(life, None)
        assert report.refused.startswith("nothing is missing")
        assert life.position == held

    guarded.play(scenario)


def test_money_that_was_spent_by_hand_is_booked_as_withdrawn(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open(**_OFTEN)
        cash, spent = life.books.cash, D("100.5")
        take(guarded, guarded.account.balances["BTC"].free, -spent)
        await life.until(lambda: "USDT" in life.venue.live_report().drift, "short")
        priced = await settle(life, D(0))
        assert "has no price" in priced.refused
        done = await settle(life, None)
        assert (done.refused, done.booked.split(" that ")[0]) == ("", "100.5 USDT")
        assert life.books.cash == cash - spent
        assert life.books.funds_moved()["USDT"] == cash - spent, "no loss of the day: it was taken out"
        await life.until(lambda: not life.venue.live_report().frozen, "thawed")

    guarded.play(scenario)
