"""The supervisor's side of ``alerts.sqlite``. It blocks, so it is called from a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import orjson

from levibot import clock
from levibot.alerting.alert import HOOK, TARGETS, Alert, Notice
from levibot.alerting.schema import MIGRATIONS
from levibot.config import Config
from levibot.errors import CorruptStoreError
from levibot.execution.store import Store, named_errors, set_aside

_DAY_MS = 86_400_000
_PRUNE_MS = 3_600_000
_LOAD_AT_MOST = 1_000
_COLUMNS = tuple(column.name for column in fields(Alert))


class AlertJournal:
    """Alerts and the outbox, on disk.

    Parameters
    ----------
    path
        The database; opened by the first call, again after an error.
    channels
        Through which each notice is to be told.
    keep_days
        Days that cleared alerts and finished deliveries are kept.
    wall_ms
        Unix time in milliseconds.
    """

    def __init__(self, path: Path, channels: tuple[str, ...], keep_days: int, wall_ms: Callable[[], int]) -> None:
        self.channels = channels
        self._path = path
        self._keep_ms = keep_days * _DAY_MS
        self._wall_ms = wall_ms
        self._store: Store | None = None
        self._pruned_ms = 0

    @classmethod
    def of(cls, config: Config) -> AlertJournal:
        """The journal that a configuration asks for."""
        alerts = config.alerts
        channels = (*([TARGETS] if alerts.targets_file else []), *([HOOK] if alerts.hook else []))
        return cls(config.state_dir / "alerts.sqlite", channels, alerts.keep_days, clock.wall_ms)

    def load(self) -> tuple[list[Alert], Path | None]:
        """Newest alerts, oldest first, all that stand among them; and where a damaged file was moved to.

        Raises
        ------
        DataStoreError
            If the file cannot be used now; NewerSchemaError if a later LeviBot wrote it.
        """
        try:
            return self._alerts(), None
        except CorruptStoreError:
            return [], self.renew()

    def renew(self) -> Path:
        """Set the damaged file aside, and tell where; the next call makes a new one."""
        self.close()
        with named_errors(self._path):
            return set_aside(self._path)

    def write(self, alerts: Iterable[Alert], notices: Iterable[Notice]) -> None:
        """Write alerts as they are now, and notices into the outbox, all or nothing.

        Raises
        ------
        DataStoreError
            Nothing is written; CorruptStoreError if `renew` is needed.
        """
        now = self._wall_ms()
        rows = [
            (notice.id, channel, orjson.dumps(notice.document()), now)
            for notice in notices
            for channel in self.channels
        ]
        with self._opened().transaction() as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO alerts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
                [tuple(getattr(alert, column) for column in _COLUMNS) for alert in alerts],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO deliveries (notice, channel, body, created_ms) VALUES (?, ?, ?, ?)", rows
            )
            prune = abs(now - self._pruned_ms) >= _PRUNE_MS
            if prune:
                self._prune(connection, now)
        if prune:
            self._pruned_ms = now

    def outcomes(self, notice: str) -> list[tuple[str, str]]:
        """What became of a notice: state (waiting, sent, given_up) and words, for each delivery."""
        return self._opened().rows(
            "SELECT state, detail FROM deliveries WHERE notice = ? AND state != 'split' ORDER BY id", notice
        )

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._path, MIGRATIONS, lambda _connection: None)
        return self._store

    def _alerts(self) -> list[Alert]:
        rows = self._opened().rows(
            f"SELECT {', '.join(_COLUMNS)} FROM"
            " (SELECT * FROM alerts ORDER BY cleared_ms IS NULL DESC, raised_ms DESC LIMIT ?) ORDER BY raised_ms",
            _LOAD_AT_MOST,
        )
        return [Alert(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def _prune(self, connection: sqlite3.Connection, now: int) -> None:
        oldest = now - self._keep_ms
        connection.execute("DELETE FROM alerts WHERE cleared_ms < ?", (oldest,))
        connection.execute("DELETE FROM deliveries WHERE state != 'waiting' AND created_ms < ?", (oldest,))
