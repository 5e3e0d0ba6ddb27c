"""Every fault between engine and broker on paper, in one table: each intent is filled once or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from levibot.bus.messages import (
    BrokerReply,
    CancelOrder,
    Intent,
    OrderEvents,
    OrderFilled,
    OrderPartiallyFilled,
    Reconciled,
    ReconcileRequest,
    SubmitOrder,
)
from levibot.execution.broker import Broker
from levibot.execution.ledger import Ledger
from tests.deadline import wait_for
from tests.execution.examples import SYMBOL, D, Desk, book, entry, leave, trades
from tests.full_disk import full_disk


class PaperHouse:
    """A broker on paper and an engine's ledger, with a line between them that can fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desk = Desk(folder / "broker.sqlite")
        self.ledger = Ledger.open(folder / "ledger.sqlite", SYMBOL, "test")
        self.is_cut = False
        self.repeats = 1
        self.desk.price(100)
        self.broker = Broker(self.desk.books, self.desk.exchange, self._send, (SYMBOL,), lambda failure: None)
        self.reconcile()

    def _send(self, _identity: bytes, reply: BrokerReply) -> bool:
        if self.is_cut:
            return False
        for _ in range(self.repeats):
            if isinstance(reply, OrderEvents):
                self.ledger.apply(*reply.events)
            elif isinstance(reply, Reconciled):
                self.ledger.reconcile(reply)
        return True

    def submit(self, intent: Intent) -> Intent:
        self.ledger.journal(intent)
        self.arrive(intent)
        return intent

    def arrive(self, intent: Intent) -> None:
        self.broker.handle([(b"engine", SubmitOrder(intent))])

    def cancel(self, intent: Intent) -> None:
        self.broker.handle([(b"engine", CancelOrder(SYMBOL, intent.client_id))])

    def reconcile(self) -> None:
        """The engine is connected again, maybe with another process."""
        self.is_cut = False
        ids = self.ledger.open_ids()
        self.broker.handle([(b"engine", ReconcileRequest(1, SYMBOL, self.ledger.last_seq, ids))])

    def trade(self, amount: float) -> None:
        """Somebody sells below the price of what rests."""
        self.broker.on_flow(trades(("sell", 98.0, amount)))

    def filled(self, intent: Intent) -> list[str]:
        """Quantities of its fills by the broker's books, which the ledger must have too."""
        told = [
            [
                str(event.fill.quantity)
                for event in events
                if isinstance(event, OrderFilled | OrderPartiallyFilled) and event.client_id == intent.client_id
            ]
            for events in (self.desk.books.events_since(0), self.ledger.history())
        ]
        assert told[0] == told[1]
        return told[0]


def lost_answer(house: PaperHouse) -> None:
    """The order is carried out, and the engine hears nothing of it until it asks."""
    for intent in (entry("2"), leave("2")):
        house.is_cut = True
        house.submit(intent)
        house.reconcile()
        assert house.filled(intent) == ["2"]


def lost_answer_to_a_cancellation(house: PaperHouse) -> None:
    """The cancellation comes again, since nothing was heard of the first."""
    resting = house.submit(entry("2", kind="limit", limit_price=D(99)))
    house.is_cut = True
    house.cancel(resting)
    house.reconcile()
    house.cancel(resting)
    house.trade(5)
    assert house.filled(resting) == []
    assert house.ledger.open_ids() == []


def refused_write(house: PaperHouse) -> None:
    """What is 5xx on an exchange: the entry is denied, the exit carried out as soon as it can be."""
    refused, bought, sold = entry("2"), house.submit(entry("2")), leave("2")
    for intent in (refused, sold):
        house.ledger.journal(intent)
    house.is_cut = True  # the engine's disk is another one
    with full_disk():
        house.arrive(refused)
        house.arrive(sold)
    wait_for(lambda: house.broker.on_timer() or not house.desk.position(), "the exit")
    house.reconcile()
    assert (house.filled(refused), house.filled(bought), house.filled(sold)) == ([], ["2"], ["2"])
    assert house.ledger.open_ids() == []


def asked_for_too_early(house: PaperHouse) -> None:
    """An order that the broker did not know when it was asked for never comes to life."""
    late = entry("2")
    house.ledger.journal(late)
    house.reconcile()
    house.arrive(late)
    house.reconcile()
    assert house.filled(late) == []
    assert house.ledger.open_ids() == []


def doubled_messages(house: PaperHouse) -> None:
    """Orders and answers come twice."""
    house.repeats = 2
    for intent in (entry("2"), leave("2")):
        house.submit(intent)
        house.arrive(intent)
        assert house.filled(intent) == ["2"]


def partial_fill_while_cut_off(house: PaperHouse) -> None:
    """Half of it is filled while nobody hears, the rest later."""
    house.broker.on_flow(book("98x5", "99x0.5 101x9"))
    house.is_cut = True
    resting = house.submit(entry("2", kind="limit", limit_price=D(99)))
    house.reconcile()
    assert house.filled(resting) == ["0.5"]
    house.trade(5)
    assert house.filled(resting) == ["0.5", "1.5"]


FAULTS = (
    lost_answer,
    lost_answer_to_a_cancellation,
    refused_write,
    asked_for_too_early,
    doubled_messages,
    partial_fill_while_cut_off,
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[PaperHouse]:
    made = PaperHouse(tmp_path)
    yield made
    made.ledger.close()
    made.desk.books.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_intent_is_filled_once_or_not_at_all(house: PaperHouse, fault: Callable[[PaperHouse], None]) -> None:
    fault(house)
