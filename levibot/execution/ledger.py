"""The ledger of one engine: its orders, every event about them, and the position that follows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    FundingPaid,
    Intent,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Reconciled,
    Role,
)
from levibot.clock import wall_ms
from levibot.errors import CorruptStoreError, DataStoreError, MalformedMessageError, RetryError
from levibot.execution import ledger_state
from levibot.execution.history import extended, verified
from levibot.execution.ids import ClientId, new_generation
from levibot.execution.ledger_state import LedgerState, ReconcileOutcome
from levibot.execution.orders import TERMINAL_STATES, IllegalTransitionError, OrderState, next_state
from levibot.execution.position import ZERO, unrealized_pnl
from levibot.execution.store import Store, set_aside

_DAY_MS = 86_400_000
_IDS_AT_ONCE = 64  # reserved with one commit: engines that decide at the same bar share one disk


class SequenceHoleError(RetryError):
    """An order event is missing before this one: reconcile with the broker."""


class Applied(NamedTuple):
    """An event that is now in the ledger, and the position after it."""

    event: OrderEvent
    position: Position


@dataclass
class _OpenOrder:
    intent: Intent
    state: OrderState


@dataclass
class _Change:
    """State and orders while a transaction is under way; taken over after its commit."""

    state: LedgerState
    orders: dict[str, _OpenOrder]
    irregular: int = 0


class Ledger:
    """One engine's own durable record. Use `Ledger.open`.

    Attributes
    ----------
    set_aside
        New name of a corrupt file that was found at opening and replaced by an empty ledger, or None.
    irregular
        Events that did not fit the state of their order; they are kept, and their fills count.
    """

    def __init__(self, path: Path, symbol: str, instance: str, aside: Path | None = None) -> None:
        self.set_aside = aside
        self.irregular = 0
        self._symbol = symbol
        self._instance = instance
        self._mark: Decimal | None = None
        self._decode_intent: Decoder[Intent] = Decoder(Intent)
        self._decode_event: Decoder[OrderEvent] = Decoder(OrderEvent)
        self._store = Store(
            path, ledger_state.MIGRATIONS, lambda connection: ledger_state.seed(connection, symbol, instance)
        )
        try:
            self._state = self._load_state()
            self._next_sequence = self._state.next_sequence  # what is left of a reservation is not used
            self._orders = self._load_orders()
        except (MalformedMessageError, InvalidOperation, ValueError) as error:
            self._store.close()
            raise CorruptStoreError(path, f"the content is damaged ({error})") from error
        except BaseException:
            self._store.close()
            raise

    @classmethod
    def open(cls, path: Path, symbol: str, instance: str) -> Ledger:
        """Open or create the ledger of `symbol`; a corrupt file is renamed and a new one begun.

        Raises
        ------
        NewerSchemaError, LockedStoreError, FullDiskError, DataStoreError
            The file is left as it is.
        """
        try:
            return cls(path, symbol, instance)
        except CorruptStoreError:
            return cls(path, symbol, instance, set_aside(path))

    # ------------------------------------------------------------------ what it knows

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest event of the symbol."""
        return self._state.last_seq

    @property
    def position(self) -> Position:
        """Signed quantity, average entry price and profit realised after fees."""
        return self._state.position

    @property
    def trade_count(self) -> int:
        """Positions opened since the ledger began."""
        return self._state.trade_count

    @property
    def generation(self) -> str:
        """Random part of the client ids made here."""
        return self._state.generation

    @property
    def refused_writes(self) -> int:
        """Writes that a full disk refused since it was opened."""
        return self._store.refused

    def open_ids(self) -> list[str]:
        """Client ids whose end is not known."""
        return list(self._orders)

    def open_orders(self) -> dict[str, tuple[Intent, OrderState]]:
        """Orders that are not at their end, protective ones too."""
        return {client_id: (order.intent, order.state) for client_id, order in self._orders.items()}

    def history(self, since: int = 0) -> Iterator[OrderEvent]:
        """All events after `since`, oldest first."""
        for (body,) in self._store.rows("SELECT body FROM events WHERE symbol_seq > ? ORDER BY symbol_seq", since):
            yield self._decode_event(body)

    @property
    def entered_ms(self) -> int:
        """Market time of the newest fill of an entry; 0 without a position, or if no entry of ours led to it."""
        if not self._state.position.quantity:
            return 0
        fills = self._store.each(
            "SELECT events.body FROM events JOIN orders USING (client_id) WHERE orders.role = 'entry'"
            " ORDER BY events.symbol_seq DESC"
        )
        events = (self._decode_event(body) for (body,) in fills)
        found = (event.event_ms for event in events if isinstance(event, OrderPartiallyFilled | OrderFilled))
        return next(found, 0)

    def total_pnl(self, mark: Decimal | None) -> Decimal:
        """Realised and unrealised profit after fees, in the quote asset.

        Parameters
        ----------
        mark
            Price of the base asset; None counts the open position at its entry price.
        """
        position = self._state.position
        return position.realized_pnl + (unrealized_pnl(position, mark) if mark is not None else ZERO)

    def daily_pnl(
        self, mark: Decimal, event_ms: int, opening_of: Callable[[int], Decimal | None] = lambda _day: None
    ) -> Decimal:
        """Profit since 00:00 UTC of the day of `event_ms`, against the last value before it.

        The opening value is stored at the first call of a day, so a restart does not take it again. A ledger
        that was rebuilt does not know it: `opening_of` is asked then, by the day since 1970-01-01.
        """
        total = self.total_pnl(mark)
        day = event_ms // _DAY_MS
        if day > self._state.day:
            opening = self._state.last_pnl if self._mark is None else self.total_pnl(self._mark)
            if self._state.day < 0 and self._state.last_seq and (known := opening_of(day)) is not None:
                opening = known
            with self._changing() as (connection, change):
                change.state = replace(change.state, day=day, day_open_pnl=opening, last_pnl=total)
                ledger_state.save(connection, change.state)
        self._mark = mark
        return total - self._state.day_open_pnl

    # ------------------------------------------------------------------ what happens

    def new_client_id(self, role: Role) -> str:
        """A client id that no order ever had or will have; reserved on disk before it returns."""
        sequence = self._next_sequence
        if sequence == self._state.next_sequence:
            with self._changing() as (connection, change):
                change.state = replace(change.state, next_sequence=sequence + _IDS_AT_ONCE)
                ledger_state.save(connection, change.state)
        self._next_sequence = sequence + 1
        return str(ClientId(self._instance, self._state.generation, sequence, role))

    def begin_generation(self) -> None:
        """Count the client ids anew, under a new name: this is an older state, put back."""
        with self._changing() as (connection, change):
            change.state = replace(change.state, generation=new_generation(), next_sequence=1)
            ledger_state.save(connection, change.state)
        self._next_sequence = 1

    def journal(self, intent: Intent) -> None:
        """Write down an order before it is sent; on disk when this returns.

        Raises
        ------
        DataStoreError
            It is not written, so it must not be sent.
        """
        if intent.symbol != self._symbol:
            raise ValueError(f"an order for {intent.symbol} in the ledger of {self._symbol}")
        with self._changing() as (connection, change):
            self._insert_order(connection, intent)
            change.orders[intent.client_id] = _OpenOrder(intent, OrderState.INTENT)

    def apply(self, *events: OrderEvent) -> list[Applied]:
        """Take in what came together, with one commit; those that were known are left out of the answer.

        An event without a number (`symbol_seq` 0) is a denial that the broker could not journal: it closes
        the order and leaves the history alone.

        Raises
        ------
        SequenceHoleError
            If events before one of these are missing; nothing is changed.
        """
        last_seq = self._state.last_seq
        new = [event for event in events if not event.symbol_seq or event.symbol_seq > last_seq]
        applied: list[Applied] = []
        if new:
            with self._changing() as (connection, change):
                for event in new:
                    self._take(connection, change, event)
                    applied.append(Applied(event, change.state.position))
                ledger_state.save(connection, change.state)
        return applied

    def reconcile(self, reconciled: Reconciled) -> ReconcileOutcome:
        """Take in the broker's answer to a `ReconcileRequest`, or the first part of it, all or nothing."""
        applied, restored = 0, False
        never_sent = [client_id for client_id in reconciled.unknown_ids if client_id in self._orders]
        with self._changing() as (connection, change):
            for event in reconciled.events:
                if event.symbol_seq > change.state.last_seq:
                    restored = restored or self._is_from_the_future(event, change.state)
                    self._take(connection, change, event)
                    applied += 1
            for client_id in never_sent:
                self._close_order(connection, change, client_id, OrderState.DENIED)
            if restored:
                change.state = replace(change.state, generation=new_generation())
            ledger_state.save(connection, change.state)
        return ReconcileOutcome(
            complete=self.last_seq >= reconciled.symbol_seq,
            applied=applied,
            never_sent=never_sent,
            drift=reconciled.position.quantity - self.position.quantity,
            broker_behind=reconciled.symbol_seq < self.last_seq,
            restored=restored,
            protective=[order for order in reconciled.open_orders if order.role in ("stop", "take_profit")],
        )

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    # ------------------------------------------------------------------ inside a transaction

    @contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, _Change]]:
        change = _Change(self._state, dict(self._orders))
        with self._store.transaction() as connection:
            yield connection, change
        self._state, self._orders = change.state, change.orders
        self.irregular += change.irregular

    def _take(self, connection: sqlite3.Connection, change: _Change, event: OrderEvent) -> None:
        if event.symbol != self._symbol:
            raise ValueError(f"an event of {event.symbol} in the ledger of {self._symbol}")
        if event.symbol_seq:
            expected = change.state.last_seq + 1
            if event.symbol_seq != expected:
                raise SequenceHoleError(f"{self._symbol}: expected order event {expected}, got {event.symbol_seq}")
            body = encode(event)
            connection.execute(
                "INSERT INTO events (symbol_seq, seq, client_id, body) VALUES (?, ?, ?, ?)",
                (event.symbol_seq, event.seq, event.client_id, body),
            )
            crc = extended(change.state.history_crc or 0, body)
            change.state = replace(change.state, last_seq=event.symbol_seq, history_crc=crc)
        if isinstance(event, OrderSubmitted):
            self._adopt(connection, change, event.intent)
        self._advance(connection, change, event)

    def _adopt(self, connection: sqlite3.Connection, change: _Change, intent: Intent) -> None:
        known = connection.execute("SELECT 1 FROM orders WHERE client_id = ?", (intent.client_id,)).fetchone()
        if not known:
            self._insert_order(connection, intent)
            change.orders[intent.client_id] = _OpenOrder(intent, OrderState.INTENT)

    def _advance(self, connection: sqlite3.Connection, change: _Change, event: OrderEvent) -> None:
        if isinstance(event, FundingPaid):
            change.state = change.state.after_funding(event.amount)
            return
        order = change.orders.get(event.client_id)
        if isinstance(event, OrderPartiallyFilled | OrderFilled):
            intent = order.intent if order else self._closed_intent(connection, event.client_id)
            change.state = change.state.after_fill(intent.side, event.fill)
        if order is None:
            change.irregular += 1
            return
        try:
            state = next_state(order.state, event)
        except IllegalTransitionError:
            change.irregular += 1
            return
        if state in TERMINAL_STATES:
            self._close_order(connection, change, event.client_id, state)
            return
        change.orders[event.client_id] = _OpenOrder(order.intent, state)
        connection.execute("UPDATE orders SET state = ? WHERE client_id = ?", (state, event.client_id))

    def _closed_intent(self, connection: sqlite3.Connection, client_id: str) -> Intent:
        row = connection.execute("SELECT intent FROM orders WHERE client_id = ?", (client_id,)).fetchone()
        if row is None:
            raise SequenceHoleError(f"{self._symbol}: a fill of {client_id}, whose submission is missing")
        return self._decode_intent(row[0])

    def _insert_order(self, connection: sqlite3.Connection, intent: Intent) -> None:
        connection.execute(
            "INSERT INTO orders (client_id, role, state, open, recorded_ms, intent) VALUES (?, ?, ?, 1, ?, ?)",
            (intent.client_id, intent.role, OrderState.INTENT, wall_ms(), encode(intent)),
        )

    @staticmethod
    def _close_order(connection: sqlite3.Connection, change: _Change, client_id: str, state: OrderState) -> None:
        connection.execute("UPDATE orders SET state = ?, open = 0 WHERE client_id = ?", (state, client_id))
        change.orders.pop(client_id, None)

    def _is_from_the_future(self, event: OrderEvent, state: LedgerState) -> bool:
        parsed = ClientId.parse(event.client_id)
        return (
            parsed is not None and parsed.generation == state.generation and parsed.sequence >= state.next_sequence
        )

    # ------------------------------------------------------------------ rows

    def _load_state(self) -> LedgerState:
        rows = self._store.rows("SELECT * FROM ledger")
        if len(rows) != 1:
            raise CorruptStoreError(self._store.path, "the ledger row is missing")
        symbol, instance = rows[0][1:3]
        if (symbol, instance) != (self._symbol, self._instance):
            raise DataStoreError(
                self._store.path,
                f"is the ledger of {symbol}, instance {instance}, not of {self._symbol}, {self._instance}:"
                " put the right file there",
            )
        state = ledger_state.load(rows[0])
        return replace(state, history_crc=verified(self._store, "symbol_seq", state.last_seq, state.history_crc))

    def _load_orders(self) -> dict[str, _OpenOrder]:
        rows = self._store.rows(
            "SELECT client_id, state, intent FROM orders INDEXED BY open_orders WHERE open = 1 ORDER BY rowid"
        )
        return {
            client_id: _OpenOrder(self._decode_intent(intent), OrderState(state))
            for client_id, state, intent in rows
        }
