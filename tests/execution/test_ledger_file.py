"""The file of a ledger: damage is set aside, older schemas are brought forward, a full disk harms nothing."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.codec import encode
from levibot.bus.messages import (
    OrderEvent,
    OrderSubmitted,
)
from levibot.errors import CorruptStoreError, FullDiskError, NewerSchemaError
from levibot.execution.ledger_state import MIGRATIONS
from levibot.execution.store import Store
from tests.execution.examples import SYMBOL, entry
from tests.execution.ledger_story import Story, opened
from tests.full_disk import full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTC-USDT.sqlite"


def test_history_cannot_be_changed(path: Path) -> None:
    ledger, story = opened(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    ledger.close()
    connection = sqlite3.connect(path)
    for statement in ("DELETE FROM events", "UPDATE events SET seq = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            connection.execute(statement)
    connection.close()


def test_a_corrupt_file_is_set_aside_and_the_broker_gives_all_back(path: Path) -> None:
    ledger, story = opened(path), Story()
    for event in story.fill(entry("2"), "100"):
        ledger.apply(event)
    generation = ledger.generation
    ledger.close()
    path.write_bytes(b"garbage" * 1000)
    fresh = opened(path)
    assert fresh.set_aside is not None
    assert fresh.set_aside.read_bytes() == b"garbage" * 1000
    assert fresh.generation != generation
    assert fresh.reconcile(story.answer(quantity="2")).drift == 0
    assert fresh.position.quantity == 2
    fresh.close()


def test_damage_inside_the_rows_is_corruption_too(path: Path) -> None:
    opened(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE ledger SET quantity = 'much'")
    connection.commit()
    connection.close()
    fresh = opened(path)
    assert fresh.set_aside is not None
    fresh.close()


def test_damage_that_is_met_later_is_found_at_the_next_opening(path: Path) -> None:
    ledger, story = opened(path), Story()
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
    harmed = opened(path)
    assert harmed.set_aside is None  # nothing that it reads at its start is damaged
    assert harmed.position.quantity == 10
    with pytest.raises(CorruptStoreError):
        harmed._store.rows("SELECT * FROM orders NOT INDEXED")
    harmed.close()
    fresh = opened(path)
    assert fresh.set_aside is not None
    fresh.close()
    again = opened(path)
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
    ledger, story = opened(path), Story()
    for _ in range(3):
        ledger.apply(*story.fill(entry("1"), "123.4"))
    ledger.close()
    _rewritten(path, damage)
    fresh = opened(path)
    assert fresh.set_aside is not None
    fresh.reconcile(story.answer(quantity="3"))
    assert list(fresh.history()) == story.events
    fresh.close()
    again = opened(path)
    assert again.set_aside is None
    again.close()


def test_a_ledger_of_the_first_schema_is_brought_forward_and_kept(path: Path) -> None:
    story = Story()
    store = Store(path, MIGRATIONS[:1], lambda connection: _seed_first(connection, story.fill(entry("2"), "100")))
    store.close()
    ledger = opened(path)
    assert (ledger.last_seq, ledger.position.quantity) == (3, 2)
    ledger.apply(*story.fill(entry("1"), "100"))
    ledger.close()
    again = opened(path)
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


def test_a_newer_ledger_is_not_set_aside(path: Path) -> None:
    opened(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerSchemaError):
        opened(path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_on_a_full_disk_nothing_is_half_done(path: Path) -> None:
    ledger, story = opened(path), Story()
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
