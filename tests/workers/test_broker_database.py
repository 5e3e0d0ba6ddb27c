"""The broker's database: corrupt, newer, locked, full, or held by another broker."""

from __future__ import annotations

import resource
import sqlite3

from levibot.bus.messages import (
    OrderDenied,
    OrderFilled,
)
from levibot.execution.books_schema import MIGRATIONS
from levibot.execution.store import Store
from tests.execution.examples import D, entry, leave
from tests.workers.broker_house import House


def test_a_corrupt_database_is_left_alone_and_nothing_is_traded(house: House) -> None:
    path = house.spec.state_dir / "broker.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage" * 1000)
    house.start()
    beat = house.until_beat(lambda beat: "corrupt" in beat.waiting_for, "a broker that says what is wrong")
    assert not beat.ready
    engine = house.client()
    intent = entry("1")
    engine.submit(intent)
    assert "corrupt" in engine.await_end(intent.client_id, OrderDenied).reason
    assert path.read_bytes() == b"garbage" * 1000
    assert [one.name for one in path.parent.iterdir() if "broker" in one.name] == ["broker.sqlite"]
    path.unlink()  # as the remedy says
    house.until_trading()


def test_a_newer_database_is_not_called_corrupt(house: House) -> None:
    path = house.spec.state_dir / "broker.sqlite"
    Store(path, (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)",)), lambda connection: None).close()
    house.start()
    beat = house.until_beat(lambda beat: "upgrade LeviBot" in beat.waiting_for, "a broker that waits")
    assert "corrupt" not in beat.waiting_for


def test_a_locked_database_denies_entries_until_it_is_free(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    other = sqlite3.connect(house.spec.state_dir / "broker.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = entry("1")
    engine.submit(refused)
    denied = engine.await_end(refused.client_id, OrderDenied)
    assert (denied.seq, denied.symbol_seq) == (0, 0)
    assert "another process holds the file" in denied.reason
    other.close()
    later = entry("1")
    engine.submit(later)
    engine.await_end(later.client_id, OrderFilled)


def test_a_full_disk_denies_entries_keeps_exits_and_heals(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    held = entry("2", stop_loss=D(95))
    engine.submit(held)
    engine.await_end(held.client_id, OrderFilled)
    before = engine.reconcile().symbol_seq
    _, hard = resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    refused, out = entry("1"), leave("2")
    engine.submit(refused)
    engine.submit(out)
    denied = engine.await_end(refused.client_id, OrderDenied)
    assert (denied.seq, denied.symbol_seq) == (0, 0)
    assert "the disk refused a write" in denied.reason
    beat = house.until_beat(lambda beat: "refused a write" in beat.last_error, "a heartbeat that says so")
    assert beat.ready
    assert engine.reconcile().symbol_seq == before
    resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def out_of_it() -> bool:
        house.publish(100.0)
        return any(isinstance(event, OrderFilled) for event in engine.of(out.client_id))

    house.until(out_of_it, "the exit")
    answer = engine.reconcile()
    assert (answer.position.quantity, answer.open_orders) == (0, [])


def test_a_second_broker_waits_for_the_fence(house: House) -> None:
    house.start_trading()
    first = house.process
    house.start()
    house.until_beat(
        lambda beat: beat.pid == house.process.pid and beat.waiting_for == "fence", "a waiting broker"
    )
    first.kill()
    first.join(40)
    house.until_beat(lambda beat: beat.pid == house.process.pid and beat.ready, "the second broker")
