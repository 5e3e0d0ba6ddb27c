"""A long history goes to who missed it in parts, through a real broker and the client that engines use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from levibot.bus.messages import AccountRequest, Fill, OrderEvents
from levibot.clock import boot_ns
from levibot.execution.books import Books
from levibot.execution.broker_client import BrokerClient, Recovered
from levibot.execution.ledger import Ledger
from levibot.spec import engine_name
from tests.execution.examples import SYMBOL, D, entry
from tests.workers.broker_house import House

_ORDERS = 400  # with three events each


@pytest.fixture
def house(run_dir: Path) -> Iterator[House]:
    made = House(run_dir)
    books = Books(made.spec.state_dir / "broker.sqlite", made.spec.instance, "USDT", D(10_000_000))
    with books.transaction(1):
        for number in range(_ORDERS):
            intent = entry("0.01")
            order = books.submit(intent, intent)
            books.accept(order)
            books.fill(order, Fill(f"f{number}", D("0.01"), D(100), D("0.001"), "USDT", "taker"))
    books.close()
    made.start()
    yield made
    made.close()


def test_a_new_ledger_is_rebuilt_in_parts_and_is_whole(house: House, run_dir: Path) -> None:
    house.publish(100.0)
    house.until_beat(lambda beat: beat.ready, "the broker")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ledger = Ledger.open(run_dir / "ledger.sqlite", SYMBOL, house.spec.instance)
    first = house.client("another").reconcile()
    assert (len(first.events), first.symbol_seq) == (1_000, 3 * _ORDERS)
    problems: list[str] = []
    client = BrokerClient(
        context,
        house.spec.endpoints.broker,
        symbol=SYMBOL,
        name=engine_name(SYMBOL),
        ledger=ledger,
        refuse=problems.append,
        fail=problems.append,
    )

    def recovered() -> Recovered | None:
        client.ask(boot_ns(), 10**12)
        for found in client.drain():
            if isinstance(found, Recovered):
                return found
        return None

    try:
        outcome = house.until(recovered, "the history").outcome
        assert (outcome.applied, outcome.drift, outcome.restored) == (3 * _ORDERS, 0, False)
        assert ledger.position.quantity == D("0.01") * _ORDERS
        assert problems == []
    finally:
        client.close()
        ledger.close()
        context.term()


def test_who_follows_the_account_gets_all_that_it_missed(house: House) -> None:
    house.publish(100.0)
    house.until_beat(lambda beat: beat.ready, "the broker")
    supervisor = house.client("supervisor")
    supervisor.send(AccountRequest(1, 0))

    def numbers() -> list[int]:
        supervisor.read()
        return [
            event.seq for reply in supervisor.replies if isinstance(reply, OrderEvents) for event in reply.events
        ]

    house.until(lambda: len(numbers()) >= 3 * _ORDERS, "all events")
    assert numbers() == list(range(1, 3 * _ORDERS + 1))
