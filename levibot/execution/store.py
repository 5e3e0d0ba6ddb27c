"""SQLite files that hold state: durable, versioned, and honest about what is wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from levibot.durable import sync_folder
from levibot.errors import CorruptStoreError, DataStoreError, FullDiskError, LockedStoreError, NewerSchemaError
from levibot.execution.database_copy import copy_database, sync_file

Migrations = Sequence[Sequence[str]]  # statements that lead from version N to N + 1, N from 0

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED_WRITES = {
    sqlite3.SQLITE_IOERR_WRITE,  # a quota, or a file size limit
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
_SUSPECT = "-suspect"  # damage was met in use: look at every page before the file is trusted again
_COMPANIONS = ("", "-wal", "-shm", _SUSPECT)


class Store:
    """An open database: one writer, every commit on disk before it returns.

    Parameters
    ----------
    path
        The file. It is created whole or not at all, so an empty one is damage, never a new start.
    migrations
        The schema, as the steps that lead to it. Before the first step is taken a file is copied to
        ``NAME.schema-N-STAMP.bak`` beside it; if one fails, none is taken.
    seed
        Writes the first rows of a new file.
    lock_timeout
        Seconds to wait for another process to let go of the file.

    Raises
    ------
    CorruptStoreError, NewerSchemaError, LockedStoreError, FullDiskError
        Each for exactly what its name says.
    DataStoreError
        If the file cannot be used for another reason, such as its permissions.
    """

    def __init__(
        self,
        path: Path,
        migrations: Migrations,
        seed: Callable[[sqlite3.Connection], None],
        *,
        lock_timeout: float = 1.0,
    ) -> None:
        self.path = path
        self.refused = 0  # writes, by a full disk
        self.created = not path.exists()
        with named_errors(path):
            if self.created:
                _create(path, migrations, seed)
            self._connection = _connect(path, lock_timeout)
            try:
                self._migrate(migrations)
                self._check_suspect()
            except BaseException:
                self._connection.close()
                raise

    def _migrate(self, migrations: Migrations) -> None:
        version = schema_version(self.path, self._connection, migrations)
        if version < len(migrations):
            kept = self.path.with_name(f"{self.path.name}.schema-{version}-{_stamp()}.bak")
            copy_database(self._connection, kept)
            try:
                with self.transaction() as connection:
                    apply_migrations(connection, migrations, version)
            except BaseException:
                kept.unlink(missing_ok=True)  # the file is as it was; each further attempt would leave a copy
                raise

    def _check_suspect(self) -> None:
        mark = self.path.with_name(self.path.name + _SUSPECT)
        if not mark.exists():
            return
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise CorruptStoreError(self.path, f"the content is damaged ({found})")
        mark.unlink()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            with named_errors(self.path):
                yield
        except CorruptStoreError:
            with named_errors(self.path):
                self.path.with_name(self.path.name + _SUSPECT).touch(mode=0o600)
            raise
        except FullDiskError:
            self.refused += 1
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; on disk when the block has ended without an error."""
        connection = self._connection
        with self._watched():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself when the disk was full
                    connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *arguments: Any) -> list[Any]:
        """All rows of a query."""
        with self._watched():
            return self._connection.execute(query, arguments).fetchall()

    def each(self, query: str, *arguments: Any) -> Iterator[Any]:
        """The rows of a query one by one, where all of them together may be too many for memory."""
        with self._watched():
            yield from self._connection.execute(query, arguments)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into those that say what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # the caller's mistake, not the file's
    except sqlite3.DatabaseError as error:
        raise _named(path, error) from error
    except OSError as error:
        raise DataStoreError(path, f"cannot be used: {error.strerror}") from error


def _named(path: Path, error: sqlite3.DatabaseError) -> DataStoreError:
    extended = getattr(error, "sqlite_errorcode", 0)
    primary = extended & 0xFF
    if primary in _CORRUPT:
        return CorruptStoreError(path, f"the content is damaged ({error})")
    if primary in _BUSY:
        return LockedStoreError(path, f"another process holds the file ({error}): end that process")
    if primary == sqlite3.SQLITE_FULL or extended in _REFUSED_WRITES:
        return FullDiskError(path, f"the disk refused a write ({error}): free some space")
    return DataStoreError(path, f"cannot be used ({error}): check the file, its folder and their permissions")


def set_aside(path: Path) -> Path:
    """Rename a corrupt database with its companions, and tell its new name."""
    target = path.with_name(f"{path.name}.corrupt-{_stamp()}")
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(target.with_name(target.name + companion))
    return target


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -256")  # KiB; the default grows by 2 MB in every engine
    return connection


def _create(path: Path, migrations: Migrations, seed: Callable[[sqlite3.Connection], None]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    for companion in (*_COMPANIONS, "-journal"):
        draft.with_name(draft.name + companion).unlink(missing_ok=True)
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # one fsync below, before it gets its name
        connection.execute("BEGIN")
        apply_migrations(connection, migrations, 0)
        seed(connection)
        connection.execute("COMMIT")
        _, pages, moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if pages != moved:
            raise FullDiskError(path, "the disk refused a write: free some space")
    finally:
        connection.close()
    sync_file(draft)
    draft.rename(path)
    sync_folder(path.parent)


def schema_version(path: Path, connection: sqlite3.Connection, migrations: Migrations) -> int:
    """Schema of an open database, one that is known.

    Raises
    ------
    NewerSchemaError
        If a later LeviBot wrote it.
    CorruptStoreError
        If no LeviBot did.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise NewerSchemaError(
            path, f"written by a newer LeviBot (schema {version}, known is {len(migrations)}): upgrade LeviBot"
        )
    if version == 0:
        raise CorruptStoreError(path, "the file is empty, or not LeviBot's")
    return version


def apply_migrations(connection: sqlite3.Connection, migrations: Migrations, version: int) -> None:
    for statements in migrations[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
