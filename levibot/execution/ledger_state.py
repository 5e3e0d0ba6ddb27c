"""Rows of a ledger's database: its schema, and the one row that is kept up to date with the history."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from levibot.bus.messages import Fill, Intent, Position, Side
from levibot.execution.ids import new_generation
from levibot.execution.position import after_fill, unrealized_pnl

MIGRATIONS = (
    (
        """
        CREATE TABLE ledger (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            symbol TEXT NOT NULL,
            instance TEXT NOT NULL,
            generation TEXT NOT NULL,
            next_sequence INTEGER NOT NULL,
            last_seq INTEGER NOT NULL,
            quantity TEXT NOT NULL,
            entry_price TEXT NOT NULL,
            realized_pnl TEXT NOT NULL,
            trade_count INTEGER NOT NULL,
            day INTEGER NOT NULL,
            day_open_pnl TEXT NOT NULL,
            last_pnl TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE orders (
            client_id TEXT NOT NULL UNIQUE,
            role TEXT NOT NULL,
            state TEXT NOT NULL,
            open INTEGER NOT NULL,
            recorded_ms INTEGER NOT NULL,
            intent BLOB NOT NULL
        ) STRICT
        """,
        "CREATE INDEX open_orders ON orders (client_id) WHERE open = 1",
        """
        CREATE TABLE events (
            symbol_seq INTEGER PRIMARY KEY,
            seq INTEGER NOT NULL,
            client_id TEXT NOT NULL,
            body BLOB NOT NULL
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
    ),
    ("ALTER TABLE ledger ADD COLUMN history_crc INTEGER",),  # NULL: not known, to be taken at the next opening
)


@dataclass(frozen=True)
class LedgerState:
    """Where a ledger stands; equals what its whole history adds up to.

    Attributes
    ----------
    generation
        Random part of the client ids.
    next_sequence
        First that no client id is reserved for.
    last_seq
        `symbol_seq` of the newest event.
    position
        Signed quantity, entry price, realised profit.
    trade_count
        Positions opened.
    day
        UTC days since 1970 of `day_open_pnl`; -1 before the first.
    day_open_pnl
        Total profit when the day began.
    last_pnl
        Newest total profit that was stored.
    history_crc
        Checksum of all events; None: the file is older than that.
    """

    generation: str
    next_sequence: int
    last_seq: int
    position: Position
    trade_count: int
    day: int
    day_open_pnl: Decimal
    last_pnl: Decimal
    history_crc: int | None

    def after_fill(self, side: Side, fill: Fill) -> LedgerState:
        """State with `fill` counted in."""
        position = after_fill(self.position, side, fill)
        before, after = self.position.quantity, position.quantity
        opened = bool(after) and (not before or before * after < 0)
        return replace(
            self,
            position=position,
            trade_count=self.trade_count + opened,
            last_pnl=position.realized_pnl + unrealized_pnl(position, fill.price),
        )

    def after_funding(self, amount: Decimal) -> LedgerState:
        """State with funding counted in; `amount` is what the quote balance gained."""
        position = msgspec.structs.replace(self.position, realized_pnl=self.position.realized_pnl + amount)
        return replace(self, position=position, last_pnl=self.last_pnl + amount)


@dataclass(frozen=True)
class ReconcileOutcome:
    """What a reconciliation found.

    Attributes
    ----------
    complete
        The ledger knows all events now; if not, the others are to be asked for, and only `applied` counts.
    applied
        Events that the ledger had missed.
    never_sent
        Journaled orders that never reached the broker; they are closed now.
    drift
        Broker's position minus the ledger's; anything but 0 is a defect to be looked at.
    broker_behind
        The broker knows fewer events than the ledger: its database was replaced by an older or new one.
    restored
        The ledger had been put back from an older copy: from now on it counts under a new generation.
    protective
        Stop-loss and take-profit orders that rest in the broker.
    """

    complete: bool
    applied: int
    never_sent: list[str]
    drift: Decimal
    broker_behind: bool
    restored: bool
    protective: list[Intent]


def seed(connection: sqlite3.Connection, symbol: str, instance: str) -> None:
    """Write the row of a new ledger."""
    connection.execute(
        "INSERT INTO ledger VALUES (1, ?, ?, ?, 1, 0, '0', '0', '0', 0, -1, '0', '0', 0)",
        (symbol, instance, new_generation()),
    )


def save(connection: sqlite3.Connection, state: LedgerState) -> None:
    """Write the row; amounts as text."""
    position = state.position
    connection.execute(
        "UPDATE ledger SET generation = ?, next_sequence = ?, last_seq = ?, quantity = ?, entry_price = ?,"
        " realized_pnl = ?, trade_count = ?, day = ?, day_open_pnl = ?, last_pnl = ?, history_crc = ?",
        (
            state.generation,
            state.next_sequence,
            state.last_seq,
            str(position.quantity),
            str(position.entry_price),
            str(position.realized_pnl),
            state.trade_count,
            state.day,
            str(state.day_open_pnl),
            str(state.last_pnl),
            state.history_crc,
        ),
    )


def load(row: Sequence[Any]) -> LedgerState:
    """State from a row of the table `ledger`."""
    _, symbol, _, generation, sequence, last_seq, *money, trades, day, day_open, last_pnl, crc = row
    position, profits = Position(symbol, *map(Decimal, money)), (Decimal(day_open), Decimal(last_pnl))
    return LedgerState(generation, sequence, last_seq, position, trades, day, *profits, crc)
