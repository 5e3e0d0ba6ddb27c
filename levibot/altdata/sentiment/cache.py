"""Scores that were paid for once, and what was spent today: a small database that survives a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from levibot.errors import DataStoreError

_SCHEMA = """
create table if not exists scores (
    scorer text not null, digest text not null, score real not null, scored_ms integer not null,
    primary key (scorer, digest)
) without rowid;
create table if not exists spent (day integer primary key, requests integer not null);
"""
_DAY_MS = 86_400_000
_KEPT_DAYS = 30
_SLICE = 500


class ScoreCache:
    """Scores by headline and scorer.

    Parameters
    ----------
    path
        Of the database. One that is damaged is made anew: all that is lost is what scores cost.

    Raises
    ------
    DataStoreError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise DataStoreError(path, f"cannot be opened: {error}") from error
            path.unlink()
            self._database = _open(path)

    def find(self, scorer: str, digests: Iterable[str]) -> dict[str, float]:
        """Scores that are known."""
        wanted = list(digests)
        found: dict[str, float] = {}
        for start in range(0, len(wanted), _SLICE):
            part = wanted[start : start + _SLICE]
            marks = ",".join("?" * len(part))
            query = f"select digest, score from scores where scorer = ? and digest in ({marks})"
            found.update(self._database.execute(query, (scorer, *part)).fetchall())
        return found

    def keep(self, scorer: str, scores: Mapping[str, float], now_ms: int) -> None:
        """Remember scores; those of long ago are forgotten.

        Raises
        ------
        DataStoreError
            If the disk refused.
        """
        rows = [(scorer, digest, score, now_ms) for digest, score in scores.items()]
        oldest_ms = now_ms - _KEPT_DAYS * _DAY_MS
        try:
            with self._database:
                self._database.executemany("insert or replace into scores values (?, ?, ?, ?)", rows)
                self._database.execute("delete from scores where scored_ms < ?", (oldest_ms,))
        except sqlite3.Error as error:
            raise DataStoreError(self._path, f"cannot be written: {error}") from error

    def spent(self, now_ms: int) -> int:
        """Requests of this UTC day."""
        row = self._database.execute("select requests from spent where day = ?", (now_ms // _DAY_MS,)).fetchone()
        return row[0] if row else 0

    def spend(self, now_ms: int) -> None:
        """Count one more request, before it is sent: a crash must not make it free.

        Raises
        ------
        DataStoreError
            If the disk refused.
        """
        day = now_ms // _DAY_MS
        try:
            with self._database:
                self._database.execute("delete from spent where day < ?", (day - 1,))
                self._database.execute(
                    "insert into spent values (?, 1) on conflict (day) do update set requests = requests + 1",
                    (day,),
                )
        except sqlite3.Error as error:
            raise DataStoreError(self._path, f"cannot be written: {error}") from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")  # a score lost in a power failure is asked for again
        database.executescript(_SCHEMA)
        if database.execute("pragma quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
    except BaseException:
        database.close()
        raise
    return database
