"""Positions closed on the operator's word: orders, collar, and what is said while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import (
    BrokerReply,
    FlattenPositions,
    FlattenReport,
    Intent,
    OrderDenied,
    OrderEvent,
    OrderSubmitted,
    SetTradingState,
    SubmitOrder,
    TradingStateReport,
)
from levibot.clock import boot_ns
from levibot.execution import flatten
from levibot.execution.broker import Broker
from levibot.execution.grants import GrantBook
from levibot.execution.paper import PaperExchange
from tests.execution.examples import EPOCH, KEY, SYMBOL, D, Desk, entry, market, names, tick
from tests.full_disk import full_disk

ALL = FlattenPositions(1, [], "a test")


class Thin(PaperExchange):
    """A market in which nobody takes a limit order."""

    def submit(self, intent: Intent, *, denied: str | None = None, wait: bool = False) -> list[OrderEvent]:
        if intent.kind != "limit":
            return super().submit(intent, denied=denied, wait=wait)
        books = self._books
        with books.transaction(intent.event_ms) as events:
            order = books.submit(intent, intent)
            books.accept(order)
            if intent.time_in_force == "ioc":
                books.cancel(order, "nobody pays that")
        return events


class House:
    """A broker, and what the supervisor is told by it."""

    def __init__(self, path: Path) -> None:
        self.desk = Desk(path, cash="100000")
        self.now_ns = boot_ns()
        self.failures: list[str] = []
        self.replies: list[BrokerReply] = []
        self.begin()

    def begin(self, *, thin: bool = False) -> None:
        """A broker that knows what is on disk."""
        self.desk.restart()
        if thin:
            self.desk.exchange = Thin(self.desk.books, self.desk.paper, GrantBook(KEY, EPOCH))
        self.broker = Broker(self.desk.books, self.desk.exchange, self._send, (SYMBOL,), self.failures.append)
        self.broker.set_market(market())
        self.price(100)

    def _send(self, identity: bytes, reply: BrokerReply) -> bool:
        if identity == b"supervisor":
            self.replies.append(reply)
        return True

    def price(self, price: float, **changed: Any) -> None:
        self.broker.on_tick(tick(price, **changed))

    def enter(self, intent: Intent) -> Intent:
        self.broker.handle([(b"engine", SubmitOrder(intent))])
        return intent

    def ask(self, request: FlattenPositions = ALL) -> FlattenReport:
        self.broker.handle([(b"supervisor", request)])
        report = self.replies[-1]
        assert isinstance(report, FlattenReport)
        return report

    def wait(self, seconds: float) -> None:
        """Let time pass, and the broker turn."""
        self.now_ns += int(seconds * 1e9)
        self.price(100, received_ns=self.now_ns)
        self.broker.on_timer()

    def own(self) -> list[Intent]:
        """Orders that the broker made to close, oldest first."""
        events = self.desk.books.events_since(0)
        orders = [event.intent for event in events if isinstance(event, OrderSubmitted)]
        return [order for order in orders if order.role == "emergency"]

    def refusal(self, intent: Intent) -> str:
        events = [e for e in self.desk.books.events_since(0) if e.client_id == intent.client_id]
        assert isinstance(events[-1], OrderDenied)
        return events[-1].reason


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = House(tmp_path / "broker.sqlite")
    monkeypatch.setattr(flatten, "boot_ns", lambda: made.now_ns)
    yield made
    made.desk.books.close()


def test_a_position_is_closed_by_one_limit_order_near_the_price_and_its_stop_stays_until_then(
    house: House,
) -> None:
    house.enter(entry("2", stop_loss=D("90")))
    report = house.ask()
    (order,) = house.own()
    assert (order.kind, order.side, order.reduce_only, order.time_in_force) == ("limit", "sell", True, "ioc")
    assert (order.quantity, order.limit_price) == (D("2"), D("99.9"))
    assert (report.left, report.dust) == ({}, {})
    assert house.desk.position() == 0
    kinds = [type(event).__name__ for event in house.desk.books.events_since(0)]
    assert kinds.index("OrderCancelled") > max(i for i, kind in enumerate(kinds) if kind == "OrderFilled")
    assert house.desk.books.open == {}


def test_the_collar_widens_with_each_attempt_and_stays_at_its_widest(house: House) -> None:
    house.enter(entry("2", stop_loss=D("90")))
    house.begin(thin=True)
    said = [house.ask().left[SYMBOL]]
    for _ in range(6):
        for _ in range(40):  # it is asked again all the time
            house.wait(1)
            said.append(house.ask().left[SYMBOL])
    limits = [order.limit_price for order in house.own()]
    assert limits[:4] == [D("99.9"), D("99.7"), D("99"), D("97")]
    assert set(limits[4:]) == {D("97")}
    assert 5 <= len(limits) < 20, "attempts come ever slower"
    assert "nobody pays that" in said[-1]
    assert [order.intent.kind for order in house.desk.books.open.values()] == ["stop"]
    assert house.desk.position() == D("2")


def test_nothing_is_sent_on_an_old_price_or_in_a_stale_or_closed_market(house: House) -> None:
    house.enter(entry("1"))
    house.now_ns += 31_000_000_000
    assert "the newest is 31 s old" in house.ask().left[SYMBOL]
    house.broker.set_market(market(), "no frame for 20 s")
    assert "stale: no frame for 20 s" in house.ask().left[SYMBOL]
    house.broker.set_market(market(active=False))
    assert "not open for trading" in house.ask().left[SYMBOL]
    assert house.own() == []
    house.broker.set_market(market())
    house.wait(1)
    assert house.ask().left == {}
    assert house.desk.position() == 0


def test_dust_is_named_and_not_tried(house: House) -> None:
    house.enter(entry("1"))
    house.broker.set_market(market(min_cost=D("101")))
    report = house.ask()
    assert (report.left, report.dust) == ({}, {SYMBOL: "1"})
    assert house.own() == []


def test_entries_are_cancelled_first_and_none_is_taken_meanwhile(house: House) -> None:
    resting = house.enter(entry("1", kind="limit", limit_price=D("80")))
    house.enter(entry("1"))
    house.begin(thin=True)
    assert SYMBOL in house.ask().left
    assert resting.client_id not in house.desk.books.open
    assert house.refusal(house.enter(entry("1"))) == "trading_state: the position is being closed"


def test_the_trading_state_cancels_entries_keeps_stops_and_bars_new_risk(house: House) -> None:
    resting = house.enter(entry("1", kind="limit", limit_price=D("80")))
    house.enter(entry("1", stop_loss=D("90")))
    house.broker.handle([(b"supervisor", SetTradingState(3, "REDUCING", "kill_switch: enough"))])
    assert house.replies[-1] == TradingStateReport(3, "REDUCING", [])
    assert resting.client_id not in house.desk.books.open
    assert [order.intent.kind for order in house.desk.books.open.values()] == ["stop"]
    assert house.refusal(house.enter(entry("1"))) == "trading_state: trading is REDUCING: kill_switch: enough"
    house.broker.handle([(b"supervisor", SetTradingState(4, "ACTIVE", ""))])
    house.enter(entry("1"))
    assert house.desk.position() == D("2")


def test_a_full_disk_delays_it_and_uses_up_no_order(house: House) -> None:
    house.enter(entry("1"))
    with full_disk():
        assert "the disk refused" in house.ask().left[SYMBOL]
    house.wait(1)
    assert house.ask().left == {}
    assert len(house.own()) == 1
    assert house.desk.position() == 0


def test_it_ends_when_nobody_asks_for_it_any_more(house: House) -> None:
    house.enter(entry("1"))
    house.begin(thin=True)
    house.ask()
    for _ in range(20):
        house.wait(1)
    tried = len(house.own())
    house.wait(60)
    assert len(house.own()) == tried
    house.enter(entry("1"))
    assert house.desk.position() == D("2")


def test_a_new_broker_waits_for_the_order_of_the_one_before_and_goes_on(house: House) -> None:
    house.enter(entry("1"))
    house.begin(thin=True)
    first = Intent("test-1-1-M", SYMBOL, "sell", "limit", D("1"), "emergency", 0, True, D("150"))
    house.broker.publish(house.desk.exchange.submit(first))
    assert f"order {first.client_id} is ACCEPTED" in house.ask().left[SYMBOL]
    for _ in range(12):
        house.wait(0.5)
        house.ask()
    cancelled = [e for e in house.desk.books.events_since(0) if e.client_id == first.client_id]
    assert names(cancelled)[-1] == "Cancelled"
    assert len(house.own()) > 1
