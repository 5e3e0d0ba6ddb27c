"""Closing real positions on the operator's word: past the stop that has the quantity, at prices of this moment."""

from __future__ import annotations

from levibot.bus.messages import FlattenPositions, FlattenReport
from levibot.execution.broker import Broker
from tests.execution.live.guarded import GuardedHouse, GuardedLife
from tests.execution.live.house import SYMBOL, D

ALL = FlattenPositions(1, [], "a test")
_OTHER = "ETH/USDT"


class Operator:
    """Has all positions of a life closed."""

    def __init__(self, house: GuardedHouse, life: GuardedLife) -> None:
        self.report: FlattenReport | None = None
        self.troubles: list[str] = []
        self.broker = Broker(life.books, life.venue, self._heard, (SYMBOL,), self.troubles.append)
        self.broker.set_market(house.session.spec(SYMBOL))

    def _heard(self, identity: bytes, reply: object) -> bool:
        if isinstance(reply, FlattenReport):
            self.report = reply
        return True

    def is_done(self, request: FlattenPositions = ALL) -> bool:
        self.broker.handle([(b"supervisor", request)])
        assert self.report is not None
        return not self.report.left


def test_a_position_whose_quantity_a_stop_has_is_closed(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        guarded.move("1", life)
        operator = Operator(guarded, life)
        await life.until(operator.is_done, "closed")
        await guarded.until_closed(life)
        (sale,) = guarded.sales
        assert (sale.request.time_in_force, sale.client_id.endswith("-M")) == ("IOC", True)
        assert sale.price == guarded.at("0.999")
        guarded.check(life)

    guarded.play(scenario)


def test_it_is_priced_by_the_exchange_where_the_feed_is_stale_and_the_stop_returns_meanwhile(
    guarded: GuardedHouse,
) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, stop_loss=guarded.at("0.5"))
        operator = Operator(guarded, life)
        operator.broker.set_market(guarded.session.spec(SYMBOL), "no frame for 20 s")
        guarded.tell(life, guarded.at("1"))
        guarded.move("0.9")  # of which the feed knows nothing
        await life.until(operator.is_done, "closed")
        await guarded.until_closed(life)
        (sale,) = guarded.sales
        assert sale.price < guarded.at("0.9")
        guarded.check(life)

    guarded.play(scenario)


def test_while_nobody_buys_the_stop_is_put_back_after_each_attempt(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        operator = Operator(guarded, life)
        guarded.move("1", depth=D("0.001"))
        guarded.tell(life, guarded.at("1.04"))
        await life.until(lambda: not operator.is_done() and len(guarded.sales) > 0, "some of it sold")
        await life.until(lambda: {one.intent.kind for one in life.books.open.values()} == {"stop"}, "at rest")
        await guarded.until_settled(life)
        assert life.position > 0
        guarded.check(life)

    guarded.play(scenario)


def test_nothing_is_called_closed_before_the_books_are_compared_with_the_exchange(guarded: GuardedHouse) -> None:
    """They may be of a backup, and not know of the position."""

    async def scenario() -> None:
        guarded.exchange.arm("status", "GET /api/v3/openOrders", status=503)
        life = guarded.make()
        life.start()
        operator = Operator(guarded, life)
        await life.until(lambda: life.troubles, "a comparison that fails")
        assert not operator.is_done()
        assert operator.report is not None
        assert operator.report.left["account"].startswith("comparing with the exchange")
        guarded.exchange.clear()
        await life.until(operator.is_done, "compared, and nothing there")

    guarded.play(scenario)


def test_what_is_closed_of_one_symbol_is_told_although_another_cannot_be_compared(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life)
        other = guarded.entry(symbol=_OTHER)
        with life.books.transaction(0):
            life.books.accept(life.books.submit(other, other))
        guarded.exchange.arm("status", "GET /api/v3/openOrders", symbol=_OTHER, status=503)
        life.venue.set_market(guarded.session.spec(_OTHER))
        await life.until(lambda: "503" in life.venue.account_unready(), "not compared")
        operator = Operator(guarded, life)
        await life.until(lambda: operator.is_done(FlattenPositions(1, [SYMBOL], "a test")), "closed")
        assert life.position < D("0.0001")
        assert not operator.is_done(FlattenPositions(2, [_OTHER], "a test"))
        assert operator.report is not None
        assert operator.report.left.keys() == {_OTHER}

    guarded.play(scenario)
