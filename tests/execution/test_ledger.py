"""A ledger forgets nothing, counts nothing twice, and says what is wrong with its file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from levibot.bus.codec import encode
from levibot.bus.messages import (
    Fill,
    Intent,
    OrderAccepted,
    OrderDenied,
    OrderEvent,
    OrderFilled,
    OrderSubmitted,
    Position,
    Reconciled,
)
from levibot.errors import CorruptStoreError, FullDiskError, NewerSchemaError
from levibot.execution.ids import ClientId
from levibot.execution.ledger import Ledger, SequenceHoleError
from levibot.execution.ledger_state import MIGRATIONS
from levibot.execution.orders import OrderState
from levibot.execution.store import Store
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.full_disk import full_disk

_NOON = 1_700_049_600_000  # 2023-11-15 12:00 UTC
_DAY = 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTC-USDT.sqlite"


def _open(path: Path) -> Ledger:
    return Ledger.open(path, SYMBOL, "test")


class Story:
    """Order events as a broker would number them."""

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []

    def add(self, kind: Any, client_id: str, **fields: Any) -> OrderEvent:
        number = len(self.events) + 1
        event: OrderEvent = kind(
            seq=number * 10,
            symbol_seq=number,
            symbol=SYMBOL,
            client_id=client_id,
            event_ms=0,
            recorded_ms=0,
            **fields,
        )
        self.events.append(event)
        return event

    def fill(self, intent: Intent, price: str, fee: str = "0") -> list[OrderEvent]:
        fill = Fill(f"f{len(self.events)}", intent.quantity, D(price), D(fee), "USDT", "taker")
        return [
            self.add(OrderSubmitted, intent.client_id, intent=intent),
            self.add(OrderAccepted, intent.client_id, exchange_id="x"),
            self.add(OrderFilled, intent.client_id, fill=fill),
        ]

    def answer(self, since: int = 0, quantity: str = "0", **changed: Any) -> Reconciled:
        answer = Reconciled(
            request_id=1,
            symbol=SYMBOL,
            symbol_seq=len(self.events),
            events=self.events[since:],
            position=Position(SYMBOL, D(quantity), D(0), D(0)),
            open_orders=[],
            unknown_ids=[],
        )
        return msgspec.structs.replace(answer, **changed)


def test_orders_position_and_history_come_back(path: Path) -> None:
    ledger, story = _open(path), Story()
    bought, waiting = entry("2"), entry("1")
    ledger.journal(bought)
    ledger.journal(waiting)
    for event in story.fill(bought, "100", fee="0.4"):
        assert ledger.apply(event)
    ledger.close()
    again = _open(path)
    assert again.position == Position(SYMBOL, D(2), D(100), D("-0.4"))
    assert again.open_ids() == [waiting.client_id]
    assert again.state_of(bought.client_id) is OrderState.FILLED
    assert (again.last_seq, again.trade_count) == (3, 1)
    assert list(again.history()) == story.events
    assert again.set_aside is None
    again.close()


def test_an_event_that_comes_twice_counts_once(path: Path) -> None:
    ledger, story = _open(path), Story()
    bought = entry("2")
    ledger.journal(bought)
    for event in story.fill(bought, "100"):
        assert ledger.apply(event)
        assert not ledger.apply(event)
    assert ledger.position.quantity == 2
    ledger.close()


def test_events_that_come_together_are_all_taken_or_none(path: Path) -> None:
    ledger, story = _open(path), Story()
    bought, sold = entry("2"), leave("2")
    ledger.journal(bought)
    ledger.journal(sold)
    first = story.fill(bought, "100")
    second = story.fill(sold, "110")
    with pytest.raises(SequenceHoleError):
        ledger.apply(*first, second[-1])
    assert (ledger.last_seq, ledger.position.quantity) == (0, 0)
    applied = ledger.apply(*first, *second)
    assert [event for event, _ in applied] == [*first, *second]
    assert [position.quantity for _, position in applied] == [0, 0, 2, 2, 2, 0]
    assert applied[-1].position == ledger.position
    assert ledger.apply(*second) == []
    ledger.close()


def test_a_missing_event_is_reported_and_reconciling_brings_it(path: Path) -> None:
    ledger, story = _open(path), Story()
    bought = entry("2")
    ledger.journal(bought)
    first, _, last = story.fill(bought, "100")
    ledger.apply(first)
    with pytest.raises(SequenceHoleError, match="expected order event 2, got 3"):
        ledger.apply(last)
    outcome = ledger.reconcile(story.answer(since=1, quantity="2"))
    assert (outcome.applied, outcome.drift, ledger.last_seq) == (2, 0, 3)
    assert ledger.position.quantity == 2
    ledger.close()


def test_an_intent_that_never_arrived_is_closed(path: Path) -> None:
    ledger, story = _open(path), Story()
    lost = entry("1")
    ledger.journal(lost)
    outcome = ledger.reconcile(story.answer(unknown_ids=[lost.client_id, "somebody-elses"]))
    assert outcome.never_sent == [lost.client_id]
    assert ledger.open_ids() == []
    assert ledger.state_of(lost.client_id) is OrderState.DENIED
    ledger.close()


def test_stops_made_by_the_broker_are_adopted(path: Path) -> None:
    ledger, story = _open(path), Story()
    stop = leave("2", kind="stop", role="stop", trigger_price=D(98))
    story.add(OrderSubmitted, stop.client_id, intent=stop)
    story.add(OrderAccepted, stop.client_id, exchange_id="x")
    outcome = ledger.reconcile(story.answer(open_orders=[stop]))
    assert outcome.protective == [stop]
    assert ledger.open_orders() == {stop.client_id: (stop, OrderState.ACCEPTED)}
    ledger.close()


def test_a_position_that_differs_from_the_brokers_is_reported(path: Path) -> None:
    ledger = _open(path)
    assert ledger.reconcile(Story().answer(quantity="0.5")).drift == D("0.5")
    ledger.close()


def test_a_broker_that_knows_less_than_the_ledger_is_reported(path: Path) -> None:
    ledger, story = _open(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    assert ledger.reconcile(Story().answer()).broker_behind
    ledger.close()


def test_a_denial_that_was_not_journaled_closes_the_order_alone(path: Path) -> None:
    ledger, story = _open(path), Story()
    refused = entry("1")
    ledger.journal(refused)
    event = story.add(OrderDenied, refused.client_id, reason="disk full")
    assert ledger.apply(msgspec.structs.replace(event, seq=0, symbol_seq=0))
    assert (ledger.open_ids(), ledger.last_seq) == ([], 0)
    ledger.close()


def test_a_ledger_restored_from_an_older_copy_counts_under_a_new_name(path: Path) -> None:
    ledger, story = _open(path), Story()
    ledger.close()
    copy = path.read_bytes()
    ledger = _open(path)
    first = ledger.new_client_id("entry")
    ledger.close()
    path.write_bytes(copy)
    restored = _open(path)
    story.fill(entry("1", granted=False, client_id=first), "100")
    assert restored.reconcile(story.answer(quantity="1")).restored
    assert restored.new_client_id("entry") != first
    parsed = ClientId.parse(first)
    assert parsed is not None
    assert restored.generation != parsed.generation
    restored.close()


def test_a_ledger_restored_from_a_copy_within_a_reservation_repeats_no_id(path: Path) -> None:
    ledger = _open(path)
    seen = [ledger.new_client_id("entry")]
    ledger.close()
    copy = path.read_bytes()
    ledger = _open(path)
    seen += [ledger.new_client_id("entry") for _ in range(3)]
    ledger.close()
    path.write_bytes(copy)
    story, restored = Story(), _open(path)
    story.fill(entry("1", granted=False, client_id=seen[-1]), "100")
    assert restored.reconcile(story.answer(quantity="1")).restored
    assert restored.new_client_id("entry") not in seen
    restored.close()


def test_more_ids_than_are_reserved_at_once_all_differ(path: Path) -> None:
    ledger = _open(path)
    seen = {ledger.new_client_id("exit") for _ in range(200)}
    ledger.close()
    assert len(seen) == 200


def test_ids_are_never_used_twice_even_when_the_process_is_killed(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from levibot.execution.ledger import Ledger\n"
        f"ledger = Ledger.open(Path(sys.argv[1]), {SYMBOL!r}, 'test')\n"
        "for _ in range(5): print(ledger.new_client_id('entry'), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    seen: list[str] = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, check=False)
        seen += done.stdout.decode().split()
    assert len(seen) == len(set(seen)) == 15


def test_the_opening_value_of_a_day_survives_a_restart(path: Path) -> None:
    ledger, story = _open(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    assert ledger.daily_pnl(D(105), _NOON) == 10
    assert ledger.daily_pnl(D(110), _NOON + _DAY) == 10  # 105 was the last price of the day before
    ledger.close()
    again = _open(path)
    assert again.daily_pnl(D(101), _NOON + _DAY + 1) == -8
    assert again.total_pnl(D(101)) == 2
    again.close()


def test_history_cannot_be_changed(path: Path) -> None:
    ledger, story = _open(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    ledger.close()
    connection = sqlite3.connect(path)
    for statement in ("DELETE FROM events", "UPDATE events SET seq = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            connection.execute(statement)
    connection.close()


def test_a_corrupt_file_is_set_aside_and_the_broker_gives_all_back(path: Path) -> None:
    ledger, story = _open(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    generation = ledger.generation
    ledger.close()
    path.write_bytes(b"garbage" * 1000)
    fresh = _open(path)
    assert fresh.set_aside is not None
    assert fresh.set_aside.read_bytes() == b"garbage" * 1000
    assert fresh.generation != generation
    assert fresh.reconcile(story.answer(quantity="2")).drift == 0
    assert fresh.position.quantity == 2
    fresh.close()


def test_damage_inside_the_rows_is_corruption_too(path: Path) -> None:
    _open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE ledger SET quantity = 'much'")
    connection.commit()
    connection.close()
    fresh = _open(path)
    assert fresh.set_aside is not None
    fresh.close()


def test_damage_that_is_met_later_is_found_at_the_next_opening(path: Path) -> None:
    ledger, story = _open(path), Story()
    for _ in range(100):
        for event in story.fill(entry("0.1"), "100"):
            ledger.apply(event)
    ledger.close()
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'orders'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    harmed = _open(path)
    assert harmed.set_aside is None  # nothing that it reads at its start is damaged
    assert harmed.position.quantity == 10
    with pytest.raises(CorruptStoreError):
        harmed._store.rows("SELECT * FROM orders NOT INDEXED")
    harmed.close()
    fresh = _open(path)
    assert fresh.set_aside is not None
    fresh.close()
    again = _open(path)
    assert again.set_aside is None
    again.close()


def _rewritten(path: Path, statement: str, *arguments: Any) -> None:
    """Change history behind the back of its triggers, as a failing disk does."""
    connection = sqlite3.connect(path)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement, arguments)
    for _, made in triggers:
        connection.execute(made)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        # One bit of a price, which still reads as one.
        "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '123.4', '122.4') AS BLOB)",
        "DELETE FROM events WHERE symbol_seq = 5",
        "DELETE FROM events WHERE symbol_seq = 9",
    ],
)
def test_a_flipped_bit_or_a_lost_event_is_found_and_the_broker_gives_the_truth(path: Path, damage: str) -> None:
    ledger, story = _open(path), Story()
    for _ in range(3):
        ledger.apply(*story.fill(entry("1"), "123.4"))
    ledger.close()
    _rewritten(path, damage)
    fresh = _open(path)
    assert fresh.set_aside is not None
    fresh.reconcile(story.answer(quantity="3"))
    assert list(fresh.history()) == story.events
    fresh.close()
    again = _open(path)
    assert again.set_aside is None
    again.close()


def test_a_ledger_of_the_first_schema_is_brought_forward_and_kept(path: Path) -> None:
    story = Story()
    store = Store(path, MIGRATIONS[:1], lambda connection: _seed_first(connection, story.fill(entry("2"), "100")))
    store.close()
    ledger = _open(path)
    assert (ledger.last_seq, ledger.position.quantity) == (3, 2)
    ledger.apply(*story.fill(entry("1"), "100"))
    ledger.close()
    again = _open(path)
    assert (again.set_aside, again.position.quantity) == (None, 3)
    again.close()
    (kept,) = path.parent.glob("*.schema-1-*.bak")
    old = sqlite3.connect(kept)
    assert old.execute("SELECT COUNT(*) FROM events").fetchall() == [(3,)]
    old.close()


def _seed_first(connection: sqlite3.Connection, events: list[OrderEvent]) -> None:
    connection.execute(
        "INSERT INTO ledger VALUES (1, ?, 'test', 'aaaaaaaa', 1, 3, '2', '100', '0', 1, -1, '0', '0')", (SYMBOL,)
    )
    rows = [(event.symbol_seq, event.seq, event.client_id, encode(event)) for event in events]
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
    submitted = events[0]
    assert isinstance(submitted, OrderSubmitted)
    row = (submitted.client_id, "entry", "FILLED", 0, 0, encode(submitted.intent))
    connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)


def test_history_that_comes_in_parts_is_complete_at_its_end(path: Path) -> None:
    ledger, story = _open(path), Story()
    for _ in range(4):
        story.fill(entry("1"), "100")
    parts = [ledger.reconcile(story.answer(quantity="4", events=story.events[i : i + 5])) for i in (0, 5, 10)]
    assert [part.complete for part in parts] == [False, False, True]
    assert [part.applied for part in parts] == [5, 5, 2]
    assert parts[-1].drift == 0
    assert list(ledger.history()) == story.events
    ledger.close()


def test_a_newer_ledger_is_not_set_aside(path: Path) -> None:
    _open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerSchemaError):
        _open(path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_on_a_full_disk_nothing_is_half_done(path: Path) -> None:
    ledger, story = _open(path), Story()
    intent = entry("2")
    with full_disk(), pytest.raises(FullDiskError):
        ledger.journal(intent)
    assert ledger.open_ids() == []
    ledger.journal(intent)
    events = story.fill(intent, "100")
    with full_disk(), pytest.raises(FullDiskError):
        ledger.apply(events[0])
    assert ledger.last_seq == 0
    for event in events:
        ledger.apply(event)
    assert ledger.position.quantity == Decimal(2)
    ledger.close()
