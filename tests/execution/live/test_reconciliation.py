"""The books and the exchange: what is adopted, what is left alone, what is missing and who must wait for it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from levibot.bus.messages import Fill, SettlePosition, SettleReport
from levibot.exchange.trading import Placement
from levibot.execution.ids import ClientId
from levibot.execution.refusals import Refusal
from tests.execution.live.house import INSTANCE, SYMBOL, D, Life, LiveHouse

OTHER = "ETH/USDT"
OFTEN = {"reconcile_interval": 0.1}


def placement(
    house: LiveHouse, client_id: str, side: Any, factor: str | None, quantity: str = "0.01"
) -> Placement:
    """An order that somebody posts past the broker."""
    price = house.market.instrument.to_tick(house.best("sell") * D(factor)) if factor else None
    return Placement(client_id, SYMBOL, side, "limit" if factor else "market", D(quantity), limit_price=price)


def of_a_former_ledger(number: int, role: Any = "entry") -> str:
    """An id of our instance that no book knows."""
    return str(ClientId(INSTANCE, "zzzzzzzz", number, role))


def move(house: LiveHouse, asset: str, amount: Decimal, *, listed: bool = True) -> None:
    """Money comes or goes; unlisted: nobody can read why."""

    def act(exchange: Any) -> None:
        if listed:
            exchange.accounts[0].transfer(asset, amount, house.trading.exchange_ms())
        else:
            exchange.accounts[0].balances[asset].free += amount

    house.exchange.run(act)


def by_hand(life: Life) -> Fill:
    """All that is held, sold for nothing."""
    return Fill("by hand", life.position, D(1), D(0), "USDT", "taker")


async def settle(life: Life, price: Decimal | None) -> SettleReport:
    answers: list[SettleReport] = []
    life.venue.settle(SettlePosition(1, SYMBOL, price, "dealt with"), answers.append)
    await life.until(lambda: answers, "an answer")
    return answers[0]


async def compare(life: Life) -> None:
    """Let two whole comparisons begin and end: what has happened until now is seen by the second."""
    rounds = life.venue.reconciler.rounds + 2
    await life.until(lambda: life.venue.reconciler.rounds >= rounds)


@pytest.mark.parametrize("capital", [None, D(1_000)])
def test_the_first_start_counts_the_quote_asset_and_no_later_one(
    house: LiveHouse, capital: Decimal | None
) -> None:
    async def scenario() -> None:
        free = house.account.balances["USDT"].free
        life = await house.begin(capital=capital)
        assert life.books.cash == (free if capital is None else capital)
        await life.die()
        again = await house.begin(capital=capital)
        assert again.kinds() == ["FundsMoved"]

    house.play(scenario)


def test_fills_while_the_broker_was_down_are_counted(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        resting = life.submit(house.limit("0.99"))
        await life.until(lambda: "Accepted" in life.kinds(resting))
        await life.die()
        house.trade_through(resting)
        again = await house.begin(**OFTEN)
        await again.until_over(resting)
        assert again.kinds(resting)[-1] == "Filled"
        house.check(again)

    house.play(scenario)


def test_an_order_cancelled_by_hand_is_seen(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        resting = life.submit(house.limit("0.9"))
        await life.until(lambda: "Accepted" in life.kinds(resting))
        await house.trading.cancel(SYMBOL, resting, life.books.open[resting].exchange_id)
        await compare(life)
        assert life.kinds(resting)[-1] == "Cancelled"
        assert life.reason(resting).startswith(Refusal.EXCHANGE)

    house.play(scenario)


def test_orders_of_a_former_ledger_are_adopted_and_of_others_left_alone(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        opening, filled, loose = (of_a_former_ledger(n) for n in (1, 2, 3))
        stranger = str(ClientId("othr", "zzzzzzzz", 1, "entry"))
        await house.trading.place(placement(house, opening, "buy", "0.9"))
        await house.trading.place(placement(house, filled, "buy", None))
        await house.trading.place(placement(house, stranger, "buy", "0.9"))
        await compare(life)
        assert life.kinds(opening)[-1] == "Cancelled"
        assert life.reason(opening).startswith(Refusal.ADOPTED)
        assert life.kinds(filled)[-1] == "Filled"
        closing = of_a_former_ledger(4, "exit")
        await house.trading.place(placement(house, closing, "sell", "1.2", "0.005"))
        await compare(life)
        assert closing in life.books.open  # it can only close what the books hold
        await house.trading.place(placement(house, loose, "sell", "1.2", "0.02"))
        await compare(life)
        assert life.reason(loose).startswith(Refusal.ADOPTED)
        assert life.venue.live_report().foreign_orders == 1
        (left,) = [order for order in house.orders if order.client_id == stranger]
        assert left.open
        assert not life.books.knows(stranger)
        house.check(life)
        await house.cancel(life, closing)
        await house.trading.cancel(SYMBOL, stranger, "")

    house.play(scenario)


async def cancelled_by_mistake(life: Life, order: str) -> None:
    """The broker dies, and its books say that an order is over which the exchange still has."""
    await life.until(lambda: "Accepted" in life.kinds(order))
    await life.die()
    with life.books.transaction(0):
        life.books.cancel(life.books.open[order], "by mistake")


def test_an_order_that_is_over_in_the_books_is_withdrawn_where_it_still_rests(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        resting = life.submit(house.limit("0.9"))
        await cancelled_by_mistake(life, resting)
        again = await house.begin(**OFTEN)
        (there,) = house.at_exchange(resting)
        await again.until(lambda: not there.open, "withdrawn")
        assert any(f"order {resting} is open" in text for text in again.troubles)
        assert again.position == 0
        house.check(again)

    house.play(scenario)


def test_a_fill_of_an_order_that_was_over_is_counted_with_what_protects_it(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        stop = house.market.instrument.to_tick(house.best("buy") * D("0.9"))
        resting = life.submit(house.limit("0.99", stop_loss=stop))
        await cancelled_by_mistake(life, resting)
        house.trade_through(resting)
        again = await house.begin(**OFTEN)
        await again.until(lambda: again.position > 0, "counted")
        assert [lot.stop for lot in again.books.lots[SYMBOL]] == [stop]
        assert any(f"is of order {resting}" in text and "is counted now" in text for text in again.troubles)
        await compare(again)
        assert not again.venue.live_report().frozen
        house.check(again)

    house.play(scenario)


def test_a_sale_of_more_than_is_held_freezes_until_an_operator_sets_it_aside(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        await life.until_over(life.submit(house.entry()))
        price = house.market.instrument.to_tick(house.best("sell") * D("1.02"))
        sale = life.submit(house.leave("0.005", kind="limit", limit_price=price))
        await life.until(lambda: "Accepted" in life.kinds(sale))
        await life.die()
        with life.books.transaction(0):
            life.books.cancel(life.books.open[sale], "by mistake")
            life.books.fill(life.books.submit(hand := house.leave(str(life.position)), hand), by_hand(life))
        (there,), market = house.at_exchange(sale), house.exchange.exchange.market
        dear = there.price + house.market.instrument.tick
        house.exchange.run(lambda _: market.trade(SYMBOL, dear, D(5), False, market.clock.market_ms()))
        for _ in range(2):  # the next life finds it too
            again = await house.begin(**OFTEN)
            await again.until(lambda it=again: "they hold 0" in it.venue.live_report().frozen.get(SYMBOL, ""))
            assert again.reason(again.submit(house.entry())).startswith(Refusal.FROZEN)
            await again.die()
        last = await house.begin(**OFTEN)
        move(house, "USDT", -D("0.005") * there.price - 100, listed=False)
        await last.until(lambda: "USDT" in last.venue.live_report().drift)
        assert "has no price" in (await settle(last, D(0))).refused
        await compare(last)
        assert "they hold 0" in last.venue.live_report().frozen[SYMBOL], "what is refused has changed nothing"
        booked = (await settle(last, None)).booked
        assert "is set aside, and never counted" in booked
        assert "booked as withdrawn" in booked
        await compare(last)
        assert not last.venue.live_report().frozen
        await last.die()
        assert not (await house.begin(**OFTEN)).venue.live_report().frozen

    house.play(scenario)


def test_a_shortage_freezes_until_it_is_gone(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        move(house, "USDT", D(-500), listed=False)
        await compare(life)
        report = life.venue.live_report()
        assert "USDT is short" in report.frozen[SYMBOL]
        assert list(report.drift) == ["USDT"]
        assert life.reason(life.submit(house.entry())).startswith(Refusal.FROZEN)
        move(house, "USDT", D(500), listed=False)
        await compare(life)
        assert not life.venue.live_report().frozen
        await life.until_over(life.submit(house.entry()))
        house.check(life)

    house.play(scenario)


def test_what_was_bought_must_be_there(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        await life.until_over(life.submit(house.entry()))
        foreign = house.account.balances["BTC"].free - life.position
        move(house, "BTC", -foreign - life.position / 2, listed=False)
        await compare(life)
        assert "BTC is short" in life.venue.live_report().drift["BTC"]
        move(house, "BTC", foreign + life.position / 2, listed=False)
        await compare(life)
        assert not life.venue.live_report().drift

    house.play(scenario)


def test_transfers_explain_themselves(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(**OFTEN)
        cash = life.books.cash
        move(house, "USDT", D(-300))
        move(house, "USDT", D(120))
        move(house, "ETH", D(2))
        await compare(life)
        await compare(life)
        assert life.books.cash == cash - 180
        assert not life.venue.live_report().frozen
        moved = [event.kind for event in life.books.events_since(0) if hasattr(event, "reference")]
        assert sorted(moved) == ["deposit", "opening", "withdrawal"]
        move(house, "USDT", D(180), listed=False)

    house.play(scenario)


def test_with_a_capital_deposits_are_foreign_and_withdrawals_take_what_is_foreign_first(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin(capital=D(1_000), **OFTEN)
        move(house, "USDT", D(400))
        move(house, "USDT", D(-400))
        await compare(life)
        assert life.books.cash == 1_000
        assert not life.venue.live_report().drift

    house.play(scenario)


def test_one_symbol_that_cannot_be_compared_holds_up_no_other(house: LiveHouse) -> None:
    async def scenario() -> None:
        house.exchange.arm("status", "GET /api/v3/openOrders", symbol=OTHER, status=503)
        life = house.make()
        life.venue.set_market(house.session.spec(OTHER))
        life.start()
        await life.until(lambda: not life.venue.unready(SYMBOL))
        assert not life.venue.account_unready()
        assert "503" in life.venue.unready(OTHER)
        house.price(life)
        await life.until_over(life.submit(house.entry()))
        house.exchange.clear()
        await life.until(lambda: not life.venue.unready(OTHER))
        house.check(life)

    house.play(scenario)


def test_nothing_is_opened_before_the_first_comparison(house: LiveHouse) -> None:
    async def scenario() -> None:
        house.exchange.arm("status", "GET /api/v3/account", status=503)
        life = house.make()
        life.start()
        await life.until(lambda: life.troubles)
        assert life.venue.account_unready().startswith("comparing with the exchange")
        house.price(life)
        assert life.reason(life.submit(house.entry())).startswith(Refusal.NOT_READY)
        house.exchange.clear()
        await life.until_ready()

    house.play(scenario)


def test_it_ends_at_whatever_moment_it_is_woken(house: LiveHouse) -> None:
    async def scenario() -> None:
        for turns in range(4):
            life = await house.begin()
            reconciler = life.venue.reconciler
            await asyncio.sleep(0.01)  # until it waits
            reconciler.hurry()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await reconciler.close()
            await life.die()

    house.play(scenario)
