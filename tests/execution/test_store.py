"""Corrupt, newer, locked and full are told apart, and none of them harms the file."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from levibot.errors import CorruptStoreError, DataStoreError, FullDiskError, LockedStoreError, NewerSchemaError
from levibot.execution.database_copy import copy_database
from levibot.execution.store import Migrations, Store, set_aside
from tests.full_disk import full_disk

_FIRST: Migrations = (("CREATE TABLE notes (text TEXT NOT NULL)",),)
_SECOND: Migrations = (*_FIRST, ("ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'",))


def _seed(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes (text) VALUES ('first')")


def _open(path: Path, migrations: Migrations = _FIRST) -> Store:
    return Store(path, migrations, _seed, lock_timeout=0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "folder" / "notes.sqlite"
    _open(made).close()
    return made


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    store = _open(path)
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('second')")
    store.close()
    again = _open(path)
    assert not again.created
    assert again.rows("SELECT text FROM notes") == [("first",), ("second",)]
    assert again.rows("PRAGMA journal_mode") == [("wal",)]
    assert again.rows("PRAGMA synchronous") == [(2,)]
    again.close()


def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    store = _open(path)
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as connection:
        connection.executemany("INSERT INTO notes VALUES (?)", [("half",), (None,)])
    assert store.rows("SELECT text FROM notes") == [("first",)]
    store.close()


def test_an_older_file_is_brought_forward(path: Path) -> None:
    store = _open(path, _SECOND)
    assert store.rows("SELECT * FROM notes") == [("first", "nobody")]
    assert store.rows("PRAGMA user_version") == [(2,)]
    store.close()


def test_the_older_file_is_kept_beside_it_and_only_ours_to_read(path: Path) -> None:
    _open(path, _SECOND).close()
    (kept,) = path.parent.glob("notes.sqlite.schema-1-*Z.bak")
    assert kept.stat().st_mode & 0o777 == 0o600
    old = _open(kept)
    assert old.rows("SELECT * FROM notes") == [("first",)]
    old.close()
    _open(path, _SECOND).close()
    assert len(list(path.parent.glob("*.bak"))) == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    broken: Migrations = (*_SECOND, ("CREATE TABLE extra (x)", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(DataStoreError, match="nowhere"):
        _open(path, broken)
    assert {one.name for one in path.parent.iterdir()} == {"notes.sqlite"}
    store = _open(path)
    assert store.rows("PRAGMA user_version") == [(1,)]
    assert store.rows("SELECT * FROM notes") == [("first",)]
    store.close()


def test_without_room_for_the_older_file_no_step_is_taken(path: Path) -> None:
    store = _open(path)
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", ("x" * 100_000,))
    store.close()
    before = path.read_bytes()
    with full_disk(room=50_000), pytest.raises(FullDiskError):
        _open(path, _SECOND)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.bak*"))


def test_a_copy_is_of_one_moment_whatever_is_written_meanwhile(path: Path, tmp_path: Path) -> None:
    store = _open(path)
    with store.transaction() as connection:
        connection.executemany("INSERT INTO notes VALUES (?)", [("x" * 4000,)] * 2000)
    stop, writes = threading.Event(), 0

    def write() -> None:
        nonlocal writes
        writer = _open(path)
        while not stop.is_set() or writes < 10:
            with writer.transaction() as connection:
                connection.execute("INSERT INTO notes VALUES ('a')")
                connection.execute("INSERT INTO notes VALUES ('b')")
            writes += 1
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    reader = sqlite3.connect(path, isolation_level=None)
    copy_database(reader, tmp_path / "copy.sqlite")
    stop.set()
    thread.join()
    reader.close()
    store.close()
    copy = sqlite3.connect(tmp_path / "copy.sqlite")
    count = "SELECT COUNT(*) FROM notes WHERE text = ?"
    assert copy.execute(count, ("a",)).fetchone() == copy.execute(count, ("b",)).fetchone()
    assert copy.execute("SELECT COUNT(*) FROM notes WHERE length(text) = 4000").fetchone() == (2000,)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_newer_file_is_refused_and_not_touched(path: Path) -> None:
    _open(path, _SECOND).close()
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match="upgrade LeviBot"):
        _open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be looked at" * 100])
def test_a_file_without_our_content_is_corrupt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError):
        _open(path)
    assert path.read_bytes() == content


def test_a_truncated_file_is_corrupt(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptStoreError):
        _open(path)


def test_a_file_that_another_process_writes_is_locked_not_corrupt(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = _open(path)
    with pytest.raises(LockedStoreError), store.transaction():
        raise AssertionError("the lock was not respected")
    other.close()
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('later')")
    store.close()


def test_a_full_disk_is_named_and_what_was_there_stays(path: Path) -> None:
    store = _open(path)
    with full_disk(), pytest.raises(FullDiskError, match="free some space"), store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('lost')")
    assert store.rows("SELECT text FROM notes") == [("first",)]
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('space again')")
    assert store.rows("SELECT text FROM notes") == [("first",), ("space again",)]
    store.close()


def test_a_full_disk_creates_no_half_made_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    with full_disk(), pytest.raises(FullDiskError):
        _open(path)
    assert not path.exists()
    _open(path).close()
    assert path.exists()


def test_a_folder_that_cannot_be_made_is_neither_of_these(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataStoreError) as caught:
        _open(tmp_path / "file" / "notes.sqlite")
    assert type(caught.value) is DataStoreError


def test_setting_aside_takes_the_companions_along(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"x")
    target = set_aside(path)
    assert ".sqlite.corrupt-" in target.name
    assert {one.name for one in path.parent.iterdir()} == {target.name + end for end in ("", "-wal", "-shm")}
