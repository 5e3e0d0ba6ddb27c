"""The notifier's side of ``alerts.sqlite``: what is to be sent, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from levibot.alerting.alert import TARGETS
from levibot.alerting.schema import MIGRATIONS
from levibot.errors import DataStoreError
from levibot.execution.store import Store

TARGET = "target:"  # channel of one target, followed by its digest
_AT_MOST = 1_000  # of each channel, so that one that is dead does not hide what waits for the others
_OLD_MS = 86_400_000
_TRIES = 10  # at least, before it is given up for its age

State = Literal["sent", "given_up"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way through one channel."""

    row: int
    notice: str
    channel: str
    body: dict[str, Any]
    created_ms: int
    attempts: int

    @property
    def is_test(self) -> bool:
        """Whether the operator waits for the outcome: it is tried once."""
        return bool(self.body["change"] == "test")

    def is_old(self, now_ms: int) -> bool:
        """Whether it has waited for a day."""
        return now_ms - self.created_ms >= _OLD_MS

    def is_hopeless(self, now_ms: int) -> bool:
        """Whether the attempt that has just failed was the last."""
        return self.is_test or (self.attempts + 1 >= _TRIES and self.is_old(now_ms))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt; `state` None: it is to be tried again."""

    delivery: Delivery
    state: State | None
    detail: str = ""


class Outbox:
    """Deliveries that wait. The supervisor makes the file, and may put another in its place.

    What could not be marked because the disk refused is remembered, and not sent again by this process.

    Parameters
    ----------
    path
        The database.
    """

    def __init__(self, path: Path) -> None:
        self.refused = 0
        self._path = path
        self._store: Store | None = None
        self._inode = 0
        self._version: object = None
        self._unmarked: list[Outcome] = []

    def changed(self) -> bool:
        """Whether somebody else has written since the last call.

        Raises
        ------
        DataStoreError
            From any method, if the file cannot be used now.
        """
        store = self._opened()
        if store is None:
            return False
        ((found,),) = store.rows("PRAGMA data_version")
        version = (self._inode, found)
        if version == self._version:
            return False
        self._version = version
        return True

    def waiting(self) -> list[Delivery]:
        """What is to be sent, oldest first; of each channel so many at most."""
        store = self._opened()
        if store is None:
            return []
        settled = {outcome.delivery.row for outcome in self._unmarked if outcome.state is not None}
        rows = store.rows(
            "SELECT id, notice, channel, body, created_ms, attempts FROM"
            " (SELECT *, row_number() OVER (PARTITION BY channel ORDER BY id) AS place FROM deliveries"
            " WHERE state = 'waiting') WHERE place <= ? ORDER BY id",
            _AT_MOST + len(settled),
        )
        return [
            Delivery(row, notice, channel, orjson.loads(body), created_ms, attempts)
            for row, notice, channel, body, created_ms, attempts in rows
            if row not in settled
        ]

    def split(self, digests: Iterable[str], problems: Iterable[str]) -> None:
        """Make one delivery for each target out of those that are for all of them.

        Parameters
        ----------
        digests
            Of the targets.
        problems
            Lines of the file that are no target: a test says so.
        """
        store = self._opened()
        if store is None:
            return
        copied = (
            "INSERT OR IGNORE INTO deliveries (notice, channel, body, created_ms, state, detail)"
            " SELECT notice, ?, body, created_ms, ?, ? FROM deliveries"
            " WHERE channel = ? AND state = 'waiting' AND notice LIKE ? ORDER BY id"
        )
        with store.transaction() as connection:
            for digest in digests:
                connection.execute(copied, (TARGET + digest, "waiting", "", TARGETS, "%"))
            for number, problem in enumerate(problems):
                connection.execute(copied, (f"problem:{number}", "given_up", problem, TARGETS, "%-test"))
            connection.execute(
                "UPDATE deliveries SET state = 'split' WHERE channel = ? AND state = 'waiting'", (TARGETS,)
            )

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Note what became of attempts; what the disk refuses is noted with the next ones."""
        self._unmarked += outcomes
        store = self._opened() if self._unmarked else None
        if store is None:
            return
        try:
            with store.transaction() as connection:
                connection.executemany(
                    "UPDATE deliveries SET state = ?, attempts = attempts + 1, detail = ? WHERE id = ?",
                    [(o.state or "waiting", o.detail, o.delivery.row) for o in self._unmarked],
                )
        except DataStoreError:
            self.refused += 1
            raise
        self._unmarked.clear()

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> Store | None:
        """The database; None as long as the supervisor has not made it."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataStoreError(self._path, f"cannot be used: {error.strerror}") from error
        if self._store is None or inode != self._inode:
            if self._store is not None:  # set aside as damaged: its rows are no longer known
                self.close()
                self._unmarked.clear()
            self._store = Store(self._path, MIGRATIONS, lambda _connection: None)
            self._inode = inode
        return self._store
