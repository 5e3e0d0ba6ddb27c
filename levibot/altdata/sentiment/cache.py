"""Headlines that were seen, scores that were paid for once, and what was spent today: what survives a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from levibot.altdata.sentiment.headlines import Headline
from levibot.errors import DataStoreError

T = TypeVar("T")

_SCHEMA = """
create table if not exists scores (
    scorer text not null, digest text not null, score real not null, scored_ms integer not null,
    primary key (scorer, digest)
) without rowid;
create table if not exists headlines (
    digest text primary key, words text not null, published_ms integer not null, feed text not null
) without rowid;
create table if not exists spent (day integer primary key, requests integer not null);
"""
_DAY_MS = 86_400_000
_KEPT_DAYS = 30
_SLICE = 500
_BUSY_S = 1.0  # for which somebody else may hold the database: a loop waits here


class Kept(NamedTuple):
    """A score that is known."""

    score: float
    scored_ms: int  # the headline was there then


class ScoreCache:
    """Headlines, and scores by headline and scorer.

    It is opened when it is first needed, so that one that cannot be opened is a failure of that fetch alone. One
    that is damaged is made anew: all that is lost is what scores cost, what was
    spent today, and headlines that feeds tell no more.

    Every method raises DataStoreError if the disk refuses, or the database is damaged.

    Parameters
    ----------
    path
        Of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def find(self, scorer: str, digests: Iterable[str]) -> dict[str, Kept]:
        """Scores that are known, by digest."""
        wanted = list(digests)

        def ask(database: sqlite3.Connection) -> dict[str, Kept]:
            found: dict[str, Kept] = {}
            for start in range(0, len(wanted), _SLICE):
                part = wanted[start : start + _SLICE]
                marks = ",".join("?" * len(part))
                query = f"select digest, score, scored_ms from scores where scorer = ? and digest in ({marks})"
                found.update((row[0], Kept(*row[1:])) for row in database.execute(query, (scorer, *part)))
            return found

        return self._with(ask)

    def keep(self, scorer: str, scores: Mapping[str, float], now_ms: int) -> None:
        """Remember scores; those of long ago are forgotten."""
        rows = [(scorer, digest, score, now_ms) for digest, score in scores.items()]
        oldest_ms = now_ms - _KEPT_DAYS * _DAY_MS

        def write(database: sqlite3.Connection) -> None:
            database.executemany("insert or replace into scores values (?, ?, ?, ?)", rows)
            database.execute("delete from scores where scored_ms < ?", (oldest_ms,))

        self._with(write)

    def headlines(self, since_ms: int) -> list[Headline]:
        """Those that were published since then, newest first."""
        query = "select digest, words, published_ms, feed from headlines where published_ms >= ? order by 3 desc"
        return self._with(lambda database: [Headline(*row) for row in database.execute(query, (since_ms,))])

    def remember(self, headlines: Iterable[Headline], since_ms: int) -> None:
        """Keep headlines, or their new times; those that were published before `since_ms` are forgotten."""

        def write(database: sqlite3.Connection) -> None:
            database.executemany("insert or replace into headlines values (?, ?, ?, ?)", headlines)
            database.execute("delete from headlines where published_ms < ?", (since_ms,))

        self._with(write)

    def spent(self, now_ms: int) -> int:
        """Requests of this UTC day."""
        query = "select requests from spent where day = ?"
        row = self._with(lambda database: database.execute(query, (now_ms // _DAY_MS,)).fetchone())
        return row[0] if row else 0

    def spend(self, now_ms: int) -> None:
        """Count one more request, before it is sent: a crash must not make it free."""
        day = now_ms // _DAY_MS

        def write(database: sqlite3.Connection) -> None:
            database.execute("delete from spent where day < ?", (day - 1,))
            database.execute(
                "insert into spent values (?, 1) on conflict (day) do update set requests = requests + 1", (day,)
            )

        self._with(write)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction."""
        try:
            if self._database is None:
                self._database = _open(self._path)
            with self._database:
                return work(self._database)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a full disk, a mode, a lock: it may work another time
                raise DataStoreError(self._path, f"cannot be used: {error}") from error
            self.close()
            _remove(self._path)
            raise DataStoreError(self._path, f"was damaged, and is made anew: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S)
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


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
