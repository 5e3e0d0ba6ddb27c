"""Orders that come together share one commit, and nothing else: neither a disk's refusal nor another's fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import BrokerReply, Intent, OrderEvent, OrderEvents, SubmitOrder
from levibot.execution.broker import Broker
from tests.execution.examples import SYMBOL, D, Desk, entry, leave, names
from tests.full_disk import full_disk


class House:
    """A broker on real books, and what it says to whom."""

    def __init__(self, path: Path) -> None:
        self.desk = Desk(path)
        self.failures: list[str] = []
        self.sent: list[OrderEvent] = []
        self.on_disk: list[int] = []  # events that another process could read when each message was sent
        self._path = path
        self.broker = Broker(self.desk.books, self.desk.exchange, self._send, (SYMBOL,), self.failures.append)
        self.desk.price(100)

    def submit(self, *intents: Intent) -> None:
        self.broker.handle([(b"engine", SubmitOrder(intent)) for intent in intents])

    def events(self, intent: Intent) -> list[str]:
        return names([event for event in self.sent if event.client_id == intent.client_id])

    def _send(self, _identity: bytes, reply: BrokerReply) -> bool:
        assert isinstance(reply, OrderEvents)
        reader = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        self.on_disk.append(reader.execute("SELECT COUNT(*) FROM events").fetchone()[0])
        reader.close()
        self.sent += reply.events
        return True


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "broker.sqlite")
    yield made
    made.desk.books.close()


def test_all_are_carried_out_in_order_and_on_disk_before_anybody_hears_of_them(house: House) -> None:
    orders = [entry("1"), entry("2"), leave("3")]
    house.submit(*orders)
    assert [house.events(order) for order in orders] == [["Submitted", "Accepted", "Filled"]] * 3
    assert house.desk.position() == 0
    assert set(house.on_disk) == {9}
    assert [event.seq for event in house.sent] == list(range(1, 10))


def test_what_is_refused_is_refused_alone(house: House) -> None:
    good, forged, late = entry("1"), entry("1", granted=False), entry("1")
    house.submit(good, forged, late)
    assert house.events(forged) == ["Submitted", "Denied"]
    assert house.desk.position() == 2


def test_an_order_that_comes_twice_is_carried_out_once(house: House) -> None:
    order = entry("1")
    house.submit(order, order, entry("1"))
    house.submit(order)
    assert house.desk.position() == 2


def test_a_full_disk_denies_entries_and_keeps_exits_until_it_takes_them(house: House) -> None:
    house.submit(entry("2"))
    before, opening, closing = house.desk.books.cash, entry("1"), leave("2")
    with full_disk():
        house.submit(opening, closing)
    assert house.events(opening) == ["Denied"]
    assert (house.desk.position(), house.desk.books.cash) == (D(2), before)
    assert house.failures
    house.desk.restart()
    assert house.desk.position() == D(2)


def test_an_order_that_cannot_be_dealt_with_touches_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, before, after = entry("1"), entry("1"), entry("2")
    submit = house.desk.exchange.submit

    def fails(intent: Intent, **how: Any) -> list[OrderEvent]:
        if intent is poisoned:
            raise ZeroDivisionError
        return submit(intent, **how)

    monkeypatch.setattr(house.desk.exchange, "submit", fails)
    with pytest.raises(ExceptionGroup) as raised:
        house.submit(before, poisoned, after)
    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError]
    assert house.events(before) == house.events(after) == ["Submitted", "Accepted", "Filled"]
    assert house.desk.position() == D(3)
