"""``alerts.sqlite``: the supervisor writes alerts and new deliveries, the notifier what became of these."""

from __future__ import annotations

from levibot.execution.store import Migrations

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE alerts (
            id TEXT PRIMARY KEY, key TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL,
            remedy TEXT NOT NULL, raised_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, raises INTEGER NOT NULL,
            cleared_ms INTEGER, cleared_by TEXT NOT NULL
        )""",
        # One row for each notice and channel; the notifier splits "targets" into one row for each target.
        """CREATE TABLE deliveries (
            id INTEGER PRIMARY KEY, notice TEXT NOT NULL, channel TEXT NOT NULL, body BLOB NOT NULL,
            created_ms INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
            attempts INTEGER NOT NULL DEFAULT 0, detail TEXT NOT NULL DEFAULT '', UNIQUE (notice, channel)
        )""",
        "CREATE INDEX waiting ON deliveries (id) WHERE state = 'waiting'",
    ),
)
