"""The broker's books: cash, positions, orders and every event, durable; of paper money or of real.

Memory mirrors the database. A transaction that fails is rolled back there, and memory is loaded anew:
what a reader sees is always the last commit.
"""

from __future__ import annotations

import decimal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from levibot.bus.codec import encode
from levibot.bus.messages import (
    Fill,
    FundingPaid,
    FundsKind,
    FundsMoved,
    Intent,
    OrderAccepted,
    OrderCancelled,
    OrderDenied,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderSent,
    OrderSubmitted,
    OrderTriggered,
    OrderUnknown,
    OrderUpdated,
    Role,
)
from levibot.clock import wall_ms
from levibot.execution.books_reader import ACCOUNT, BooksReader, trade_reference
from levibot.execution.history import extended
from levibot.execution.ids import ClientId, new_generation
from levibot.execution.lots import Lots
from levibot.execution.lots import after_fill as lots_after_fill
from levibot.execution.orders import TERMINAL_STATES, Order, next_state
from levibot.execution.position import ZERO, after_fill, base_of, cash_flow

# ccxt, in the same process, changes how decimals are rounded; an audit elsewhere must come to the same last digit.
_EXACTLY = decimal.Context()


class Books(BooksReader):
    """Durable state of one account, and all changes of it; parameters and errors are those of `BooksReader`."""

    def __init__(self, path: Path, instance: str, quote: str, cash: Decimal) -> None:
        self._connection: sqlite3.Connection | None = None  # while a transaction is open
        self._events: list[OrderEvent] = []
        self._event_rows: list[tuple[int, str, int, bytes]] = []  # not in the database yet
        self._moved: dict[str, None] = {}  # symbols whose position in the database is not the newest
        self.event_ms = 0
        super().__init__(path, instance, quote, cash)

    @contextmanager
    def transaction(self, event_ms: int) -> Iterator[list[OrderEvent]]:
        """All changes of one message or tick; the events may be sent when the block has ended.

        Parameters
        ----------
        event_ms
            Market time of what happens.
        """
        if self._connection is None:
            with self._changing():
                yield from self._collecting(event_ms)
        else:
            yield from self._collecting(event_ms)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Transactions that reach the disk together: all or none, and their events are sent after the block."""
        with self._changing():
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with decimal.localcontext(_EXACTLY), self._store.transaction() as self._connection:
                yield
        except BaseException:
            self._load(self.instance)
            raise
        finally:
            self._connection = None

    def _collecting(self, event_ms: int) -> Iterator[list[OrderEvent]]:
        self._events, self.event_ms = [], event_ms
        self._event_rows, self._moved = [], {}
        yield self._events
        if self._events:
            self._save_events()

    # ------------------------------------------------------------------ changes, in a transaction

    def begin_generation(self, restored_ms: int) -> None:
        """Count the client ids made here anew, under a new name: this is an older state, put back at that time."""
        with self._changing():
            self._execute(
                "UPDATE account SET generation = ?, next_sequence = 1, restored_ms = ?",
                (new_generation(), restored_ms),
            )
        self._load(self.instance)

    def settle_restore(self) -> None:
        """What happened after the backup was made is known now."""
        self._execute("UPDATE account SET restored_ms = ?", (0,))
        self.restored_ms = 0

    def new_client_id(self, role: Role) -> str:
        """Client id of an order that the broker makes itself."""
        self._next_sequence += 1
        return str(ClientId(self.instance, self._generation, self._next_sequence - 1, role))

    def give_up(self, client_ids: list[str]) -> None:
        """Refuse these ids for ever."""
        self._execute_many("INSERT OR IGNORE INTO tombstones VALUES (?)", [(one,) for one in client_ids])

    def submit(self, intent: Intent, resting: Intent, oco: str = "") -> Order:
        """Write down a new order.

        Parameters
        ----------
        intent, resting
            As it was sent, and with quantity and prices rounded.
        oco
            Group of orders that cancel each other.
        """
        order = Order(resting, oco=oco)
        self._execute(
            "INSERT INTO orders VALUES (?, ?, ?, 1, '0', '0', ?, ?, '')",
            (intent.client_id, intent.symbol, order.state, oco, encode(resting)),
        )
        self.counts[order.state] += 1
        self._orders[intent.client_id] = order
        self.open[intent.client_id] = order
        self.resting.setdefault(intent.symbol, {})[intent.client_id] = order
        self._record(order, OrderSubmitted, intent=intent)
        return order

    def send(self, order: Order, quantity: Decimal, reserved: Decimal = ZERO) -> None:
        """The order is posted next, with this quantity: after the commit the exchange may have it.

        Parameters
        ----------
        reserved
            Cash that is set aside for it.
        """
        order.change(quantity=order.filled + quantity)
        order.reserved = reserved
        self._save_terms(order)
        self._record(order, OrderSent, quantity=quantity)

    def accept(self, order: Order, reserved: Decimal = ZERO, exchange_id: str = "") -> None:
        """The order rests, and sets `reserved` of the cash aside.

        Parameters
        ----------
        exchange_id
            The exchange's name of it; empty: it rests in the broker.
        """
        order.reserved, order.exchange_id = reserved, exchange_id
        self._record(order, OrderAccepted, exchange_id=exchange_id)

    def update(self, order: Order, quantity: Decimal, trigger_price: Decimal | None) -> None:
        """The order rests with another quantity, of which what is filled is part, and another trigger."""
        order.change(quantity=quantity, trigger_price=trigger_price)
        self._save_terms(order)
        self._record(order, OrderUpdated, quantity=quantity, trigger_price=trigger_price)

    def trigger(self, order: Order, price: Decimal) -> None:
        """`price` has reached an order that rests in the broker."""
        self._record(order, OrderTriggered, price=price)

    def doubt(self, order: Order, reason: str) -> None:
        """Nobody knows whether the exchange has the order."""
        self._record(order, OrderUnknown, reason=reason)

    def deny(self, order: Order, reason: str) -> None:
        """The order is refused before it reaches the exchange."""
        self._record(order, OrderDenied, reason=reason)

    def reject(self, order: Order, reason: str) -> None:
        """The exchange refuses the order."""
        self._record(order, OrderRejected, reason=reason)

    def cancel(self, order: Order, reason: str) -> None:
        """The rest of the order is withdrawn."""
        self._record(order, OrderCancelled, reason=reason)

    def fill(self, order: Order, fill: Fill) -> None:
        """Cash and position change hands; a fill id counts once.

        Raises
        ------
        sqlite3.IntegrityError
            If it is counted in already: ask `has_fill` first.
        """
        intent = order.intent
        self._execute("INSERT INTO fills VALUES (?, ?, ?)", (intent.symbol, fill.fill_id, intent.client_id))
        if fill.fee and fill.fee_asset not in (self.quote, base_of(intent.symbol)):
            self._add_balance(fill.fee_asset, -fill.fee)
        order.filled += fill.quantity
        self.cash += cash_flow(intent.side, fill, self.quote)
        before = self.position(intent.symbol)
        after = self.positions[intent.symbol] = after_fill(before, intent.side, fill)
        lots = self.lots.get(intent.symbol, ())
        self._save_lots(intent.symbol, lots_after_fill(lots, intent, fill.price, before.quantity, after.quantity))
        self._record(order, OrderPartiallyFilled if order.remaining > 0 else OrderFilled, fill=fill)

    def pay_funding(self, symbol: str, amount: Decimal, rate: Decimal, mark_price: Decimal) -> None:
        """Funding of a swap position; `amount` is what the quote balance gains."""
        self.cash += amount
        position = self.position(symbol)
        realized = position.realized_pnl + amount
        self.positions[symbol] = msgspec.structs.replace(position, realized_pnl=realized)
        self._append(symbol, "", FundingPaid, amount=amount, rate=rate, mark_price=mark_price)
        self._moved[symbol] = None

    def move_funds(self, asset: str, amount: Decimal, kind: FundsKind, why: str) -> None:
        """A balance changed without an order; `why` is the id of the transfer, or an explanation."""
        if kind in ("deposit", "withdrawal"):
            self._execute("INSERT INTO transfers VALUES (?)", (why,))
        if asset == self.quote:
            self.cash += amount
        else:
            self._add_balance(asset, amount)
        self._append(ACCOUNT, "", FundsMoved, asset=asset, amount=amount, kind=kind, reference=why)

    def note_transfer(self, reference: str) -> None:
        """A deposit or withdrawal was seen that does not concern this account."""
        self._execute("INSERT OR IGNORE INTO transfers VALUES (?)", (reference,))

    def set_aside(self, symbol: str, trade_id: str) -> None:
        """A trade of ours was dealt with by hand, and is never counted."""
        self.note_transfer(trade_reference(symbol, trade_id))

    def note_read(self, subject: str, until_ms: int) -> None:
        """Something of the exchange has been counted in up to this time; see `read_until`."""
        self._execute("INSERT OR REPLACE INTO readings VALUES (?, ?)", (subject, until_ms))

    def _add_balance(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount
        self._execute("INSERT OR REPLACE INTO balances VALUES (?, ?)", (asset, str(self.balances[asset])))

    def _record(self, order: Order, kind: type[Any], **fields: Any) -> None:
        event = self._append(order.intent.symbol, order.intent.client_id, kind, **fields)
        self._advance(order, event)
        self._moved[order.intent.symbol] = None

    def _append(self, symbol: str, client_id: str, event_type: type[Any], **fields: Any) -> OrderEvent:
        symbol_seq = self.symbol_seq.get(symbol, 0) + 1
        event: OrderEvent = event_type(
            seq=self.seq + 1,
            symbol_seq=symbol_seq,
            symbol=symbol,
            client_id=client_id,
            event_ms=self.event_ms,
            recorded_ms=wall_ms(),
            **fields,
        )
        self.seq = event.seq
        self.symbol_seq[symbol] = symbol_seq
        body = encode(event)
        self._history_crc = extended(self._history_crc, body)
        self._event_rows.append((event.seq, symbol, symbol_seq, body))
        self._events.append(event)
        return event

    def _save_terms(self, order: Order) -> None:
        self._execute(
            "UPDATE orders SET intent = ? WHERE client_id = ?", (encode(order.intent), order.intent.client_id)
        )

    def _advance(self, order: Order, event: OrderEvent) -> None:
        self.counts[order.state] -= 1
        order.state = next_state(order.state, event)
        self.counts[order.state] += 1
        is_open = order.state not in TERMINAL_STATES
        if not is_open:
            order.reserved = ZERO
            del self.open[event.client_id], self.resting[event.symbol][event.client_id]
        self._execute(
            "UPDATE orders SET state = ?, open = ?, filled = ?, reserved = ?, exchange_id = ? WHERE client_id = ?",
            (
                order.state,
                int(is_open),
                str(order.filled),
                str(order.reserved),
                order.exchange_id,
                event.client_id,
            ),
        )

    def give_stop(self, symbol: str, stop: Decimal, quantity: Decimal) -> None:
        """A stop that was found on the exchange is that of the entry that has none and whose size is nearest."""
        lots = self.lots.get(symbol, ())
        bare = [lot for lot in lots if lot.stop is None]
        if bare:
            nearest = min(bare, key=lambda lot: abs(lot.quantity - quantity))
            self._save_lots(symbol, tuple(replace(lot, stop=stop) if lot is nearest else lot for lot in lots))

    def _save_lots(self, symbol: str, lots: Lots) -> None:
        if lots == self.lots.get(symbol, ()):
            return
        self.lots[symbol] = lots
        self._execute("DELETE FROM lots WHERE symbol = ?", (symbol,))
        rows = [
            (symbol, lot.entry_id, str(lot.quantity), *map(_text, (lot.stop, lot.target, lot.trail)))
            for lot in lots
        ]
        self._execute_many("INSERT INTO lots VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _save_events(self) -> None:
        """Write down what happened, and the positions and the account that it led to: once, at the end."""
        self._execute_many("INSERT INTO events VALUES (?, ?, ?, ?)", self._event_rows)
        positions = [(self.position(symbol), self.symbol_seq[symbol]) for symbol in self._moved]
        self._execute_many(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            [
                (one.symbol, seq, str(one.quantity), str(one.entry_price), str(one.realized_pnl))
                for one, seq in positions
            ],
        )
        self._execute(
            "UPDATE account SET next_sequence = ?, seq = ?, cash = ?, history_crc = ?",
            (self._next_sequence, self.seq, str(self.cash), self._history_crc),
        )

    def _execute(self, statement: str, arguments: tuple[Any, ...]) -> None:
        self._execute_many(statement, [arguments])

    def _execute_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        assert self._connection is not None, "changes happen in a transaction"
        self._connection.executemany(statement, rows)


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)
