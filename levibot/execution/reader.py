"""Databases as they are at one moment, for those who only look: the owner may go on writing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from levibot.errors import CorruptStoreError, DataStoreError
from levibot.execution.store import Migrations, apply_migrations, named_errors, schema_version

_ROWS_AT_ONCE = 1_000


class StoreReader:
    """One consistent view of a database; the file is never changed.

    What an older LeviBot wrote is brought up to date in a copy in memory.

    Parameters
    ----------
    path
        The file.
    migrations
        The schema, as the steps that lead to it.

    Raises
    ------
    CorruptStoreError, NewerSchemaError, DataStoreError
        Each for exactly what its name says; from any method.
    """

    def __init__(self, path: Path, migrations: Migrations) -> None:
        self.path = path
        if not path.is_file():
            raise DataStoreError(path, "there is no such file")
        with named_errors(path):
            self._connection = _open(path)
            try:
                self._bring_up_to_date(migrations)
            except BaseException:
                self._connection.close()
                raise

    def _bring_up_to_date(self, migrations: Migrations) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # the view is of this moment
        version = schema_version(self.path, self._connection, migrations)
        if version < len(migrations):
            file, self._connection = self._connection, sqlite3.connect(":memory:", isolation_level=None)
            file.backup(self._connection)
            file.close()
            apply_migrations(self._connection, migrations, version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def rows(self, query: str, *arguments: Any) -> Iterator[Any]:
        """Rows of a query, read as they are wanted."""
        with named_errors(self.path):
            cursor = self._connection.execute(query, arguments)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from rows

    def row(self, query: str, *arguments: Any) -> Any:
        """The one row that must be there."""
        for row in self.rows(query, *arguments):
            return row
        raise CorruptStoreError(self.path, "a row is missing that must be there")

    def damage(self) -> list[str]:
        """What SQLite's own check finds wrong with the pages; empty if nothing is."""
        return [found for (found,) in self.rows("PRAGMA quick_check(10)") if found != "ok"]


def _open(path: Path) -> sqlite3.Connection:
    # Who may write nothing into the folder cannot make the index of the log, and needs none while there is no log.
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    mode = "immutable=1" if alone else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=5.0, isolation_level=None)
