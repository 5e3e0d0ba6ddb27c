"""Schema of the broker's database."""

from __future__ import annotations

MIGRATIONS = (
    (
        """
        CREATE TABLE account (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            instance TEXT NOT NULL,
            generation TEXT NOT NULL,
            next_sequence INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            quote TEXT NOT NULL,
            cash TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE positions (
            symbol TEXT PRIMARY KEY,
            symbol_seq INTEGER NOT NULL,
            quantity TEXT NOT NULL,
            entry_price TEXT NOT NULL,
            realized_pnl TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE orders (
            client_id TEXT NOT NULL UNIQUE,
            symbol TEXT NOT NULL,
            state TEXT NOT NULL,
            open INTEGER NOT NULL,
            filled TEXT NOT NULL,
            reserved TEXT NOT NULL,
            oco TEXT NOT NULL,
            intent BLOB NOT NULL
        ) STRICT
        """,
        "CREATE INDEX open_orders ON orders (client_id) WHERE open = 1",
        "CREATE INDEX orders_by_state ON orders (state)",
        """
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY,
            symbol TEXT NOT NULL,
            symbol_seq INTEGER NOT NULL,
            body BLOB NOT NULL,
            UNIQUE (symbol, symbol_seq)
        ) STRICT
        """,
        """
        CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'history is immutable'); END
        """,
        """
        CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'history is immutable'); END
        """,
        "CREATE TABLE tombstones (client_id TEXT PRIMARY KEY) STRICT",
    ),
    (
        "ALTER TABLE orders ADD COLUMN exchange_id TEXT NOT NULL DEFAULT ''",
        """
        CREATE TABLE fills (
            symbol TEXT NOT NULL,
            fill_id TEXT NOT NULL,
            client_id TEXT NOT NULL,
            PRIMARY KEY (symbol, fill_id)
        ) STRICT
        """,
        "CREATE TABLE balances (asset TEXT PRIMARY KEY, amount TEXT NOT NULL) STRICT",
        "CREATE TABLE transfers (reference TEXT PRIMARY KEY) STRICT",
        """
        CREATE TABLE lots (
            symbol TEXT NOT NULL,
            entry_id TEXT NOT NULL,
            quantity TEXT NOT NULL,
            stop TEXT,
            target TEXT,
            trail TEXT,
            UNIQUE (symbol, entry_id)
        ) STRICT
        """,
    ),
    (
        "CREATE INDEX orders_by_exchange_id ON orders (exchange_id) WHERE exchange_id <> ''",
        "CREATE TABLE readings (subject TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) STRICT",
    ),
    (
        "ALTER TABLE account ADD COLUMN history_crc INTEGER",  # NULL: not known, to be taken at the next opening
        "ALTER TABLE account ADD COLUMN restored_ms INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # What the account began with; empty: it is older than this column, and nobody knows.
        "ALTER TABLE account ADD COLUMN opening TEXT NOT NULL DEFAULT ''",
    ),
)
