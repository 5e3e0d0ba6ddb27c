"""``equity.sqlite``: the supervisor writes it, everybody may read it."""

from __future__ import annotations

from levibot.execution.store import Migrations

# One valuation: `seq` is the newest event of the broker that is counted in, `generation` that of its database.
# `marks` is JSON: the price of each open position, as text.
_VALUES = """
    event_ms INTEGER NOT NULL, generation TEXT NOT NULL, seq INTEGER NOT NULL, cash TEXT NOT NULL,
    equity TEXT NOT NULL, funds TEXT NOT NULL, realized TEXT NOT NULL, unrealized TEXT NOT NULL,
    fees TEXT NOT NULL, funding TEXT NOT NULL, marks TEXT NOT NULL
"""

MIGRATIONS: Migrations = (
    (
        # How far the broker's events are added up, and to what.
        """
        CREATE TABLE account (
            id INTEGER PRIMARY KEY CHECK (id = 1), quote TEXT NOT NULL, generation TEXT NOT NULL,
            seq INTEGER NOT NULL, cash TEXT NOT NULL, funds TEXT NOT NULL, balances TEXT NOT NULL,
            event_ms INTEGER NOT NULL, marks TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE symbols (
            symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL, entry_price TEXT NOT NULL, realized TEXT NOT NULL,
            fees TEXT NOT NULL, fee_cost TEXT NOT NULL, funding TEXT NOT NULL, opened INTEGER NOT NULL
        ) STRICT
        """,
        f"CREATE TABLE points (minute INTEGER PRIMARY KEY, {_VALUES}) STRICT",
        # At 00:00 UTC of a day, counted from 1970-01-01: the newest that was known before.
        f"CREATE TABLE days (day INTEGER PRIMARY KEY, {_VALUES}) STRICT",
        """
        CREATE TABLE day_symbols (
            day INTEGER NOT NULL, symbol TEXT NOT NULL, quantity TEXT NOT NULL, entry_price TEXT NOT NULL,
            mark TEXT, realized TEXT NOT NULL, unrealized TEXT NOT NULL, fees TEXT NOT NULL,
            funding TEXT NOT NULL, opened INTEGER NOT NULL, PRIMARY KEY (day, symbol)
        ) STRICT
        """,
        """
        CREATE TABLE moves (
            generation TEXT NOT NULL, seq INTEGER NOT NULL, event_ms INTEGER NOT NULL, asset TEXT NOT NULL,
            amount TEXT NOT NULL, kind TEXT NOT NULL, reference TEXT NOT NULL, PRIMARY KEY (generation, seq)
        ) STRICT
        """,
    ),
)
