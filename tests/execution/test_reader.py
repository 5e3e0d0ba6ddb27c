"""Readers see one moment, whatever writers do, and leave no trace in the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from levibot.errors import CorruptStoreError, DataStoreError, NewerSchemaError
from levibot.execution.reader import StoreReader
from levibot.execution.store import Migrations, Store

_FIRST: Migrations = (("CREATE TABLE notes (text TEXT NOT NULL)",),)
_SECOND: Migrations = (*_FIRST, ("ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "notes.sqlite"
    Store(made, _FIRST, _write).close()
    return made


def _write(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes (text) VALUES ('first')")


def _texts(reader: StoreReader) -> list[str]:
    return [text for (text,) in reader.rows("SELECT text FROM notes")]


def test_a_reader_sees_the_moment_at_which_it_began(path: Path) -> None:
    store = Store(path, _FIRST, _write)
    with StoreReader(path, _FIRST) as reader:
        with store.transaction() as connection:
            connection.execute("INSERT INTO notes VALUES ('second')")
        assert _texts(reader) == ["first"]
    with StoreReader(path, _FIRST) as reader:
        assert _texts(reader) == ["first", "second"]
    store.close()


def test_a_writer_that_was_killed_leaves_what_it_committed(path: Path) -> None:
    store = Store(path, _FIRST, _write)
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('second')")
    copy = path.with_name("copy.sqlite")  # the files as a kill -9 leaves them
    for companion in ("", "-wal"):
        copy.with_name(copy.name + companion).write_bytes(path.with_name(path.name + companion).read_bytes())
    store.close()
    with StoreReader(copy, _FIRST) as reader:
        assert _texts(reader) == ["first", "second"]


def test_an_older_file_is_read_and_stays_as_it_is(path: Path) -> None:
    with StoreReader(path, _SECOND) as reader:
        assert list(reader.rows("SELECT text, author FROM notes")) == [("first", "nobody")]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_file_that_may_only_be_read_is_read(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with StoreReader(path, _FIRST) as reader:
            assert _texts(reader) == ["first"]
    finally:
        path.parent.chmod(0o700)


def test_newer_damaged_and_missing_are_told_apart(path: Path) -> None:
    with pytest.raises(NewerSchemaError):
        StoreReader(path, ())
    with pytest.raises(DataStoreError, match="no such file"):
        StoreReader(path.with_name("other.sqlite"), _FIRST)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(CorruptStoreError):
        StoreReader(path, _FIRST)
