"""The broker's books: cash, positions, orders and every event, durable; of paper money or of real.

Memory mirrors the database. A transaction that fails is rolled back there, and memory is loaded anew:
what a reader sees is always the last commit.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from levibot.bus.codec import Decoder, encode
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
    Position,
    Role,
)
from levibot.clock import wall_ms
from levibot.errors import CorruptStoreError, DataStoreError, MalformedMessageError
from levibot.execution.books_schema import MIGRATIONS
from levibot.execution.history import extended, verified
from levibot.execution.ids import ClientId, new_generation
from levibot.execution.lots import Lot, Lots
from levibot.execution.lots import after_fill as lots_after_fill
from levibot.execution.orders import TERMINAL_STATES, OrderState, next_state
from levibot.execution.position import ZERO, after_fill, base_of, cash_flow, flat
from levibot.execution.store import Store

_ALL = -1  # SQLite's LIMIT that is none
_ACCOUNT = ""  # instead of a symbol, of events that concern the account as a whole


@dataclass
class Order:
    """An order that is not at its end.

    Attributes
    ----------
    intent
        As it rests: quantity and prices rounded to the market's steps.
    reserved
        Quote asset set aside for it.
    oco
        Orders with the same text, if there is one, cancel each other.
    exchange_id
        The exchange's name of it; empty: it has none yet, or the order rests in the broker.
    trigger, limit
        Prices as floats, to be compared with market data.
    """

    intent: Intent
    state: OrderState = OrderState.INTENT
    filled: Decimal = ZERO
    reserved: Decimal = ZERO
    oco: str = ""
    exchange_id: str = ""
    trigger: float = 0.0
    limit: float = 0.0

    def __post_init__(self) -> None:
        self._cache_prices()

    def change(self, **terms: Any) -> None:
        """Let it rest with other terms: fields of its intent."""
        self.intent = msgspec.structs.replace(self.intent, **terms)
        self._cache_prices()

    def _cache_prices(self) -> None:
        self.trigger = float(self.intent.trigger_price or 0)
        self.limit = float(self.intent.limit_price or 0)

    @property
    def remaining(self) -> Decimal:
        """Quantity that is not filled yet."""
        return self.intent.quantity - self.filled


class Books:
    """Durable state of one account.

    Parameters
    ----------
    path
        The database; created if there is none.
    instance
        Part of the client ids of protective orders.
    quote, cash
        Asset and amount that a new account starts with.

    Attributes
    ----------
    restored_ms
        When it was put back from a backup, Unix ms: what happened between that and this is not known here. 0: it
        was not, or all of it has been caught up with, see `settle_restore`.

    Raises
    ------
    DataStoreError
        Or one of its kinds; the file is left as it is.
    """

    def __init__(self, path: Path, instance: str, quote: str, cash: Decimal) -> None:
        self._decode_intent: Decoder[Intent] = Decoder(Intent)
        self._decode_event: Decoder[OrderEvent] = Decoder(OrderEvent)
        self._store = Store(path, MIGRATIONS, lambda connection: _seed(connection, instance, quote, cash))
        self._connection: sqlite3.Connection | None = None  # while a transaction is open
        self._events: list[OrderEvent] = []
        self.event_ms = 0
        self._orders: weakref.WeakValueDictionary[str, Order] = weakref.WeakValueDictionary()
        try:
            self._load(instance)
            verified(self._store, "seq", self.seq, self._history_crc)
        except BaseException:
            self._store.close()
            raise

    def _load(self, instance: str) -> None:
        try:
            (row,) = self._store.rows("SELECT instance, generation, next_sequence, seq, quote, cash FROM account")
            self.instance, self._generation, self._next_sequence, self.seq, self.quote, cash = row
            self.cash = Decimal(cash)
            ((crc, self.restored_ms),) = self._store.rows("SELECT history_crc, restored_ms FROM account")
            self._history_crc: int = verified(self._store, "seq", self.seq, None) if crc is None else crc
            self.positions: dict[str, Position] = {}
            self.symbol_seq: dict[str, int] = {}
            for symbol, symbol_seq, *money in self._store.rows("SELECT * FROM positions"):
                self.positions[symbol] = Position(symbol, *map(Decimal, money))
                self.symbol_seq[symbol] = symbol_seq
            query = "SELECT COALESCE(MAX(symbol_seq), 0) FROM events WHERE symbol = ?"
            ((self.symbol_seq[_ACCOUNT],),) = self._store.rows(query, _ACCOUNT)
            rows = self._store.rows("SELECT * FROM balances")
            self.balances: dict[str, Decimal] = {asset: Decimal(amount) for asset, amount in rows}
            self.lots: dict[str, Lots] = {}
            for symbol, *lot in self._store.rows("SELECT * FROM lots ORDER BY rowid"):
                self.lots[symbol] = (*self.lots.get(symbol, ()), _lot(*lot))
            # What failed is undone in place: who waits for an exchange's answer holds an order meanwhile.
            former = self._orders
            self._orders = weakref.WeakValueDictionary()
            self.open: dict[str, Order] = {}
            self.resting: dict[str, dict[str, Order]] = {}
            query = "SELECT * FROM orders INDEXED BY open_orders WHERE open = 1 ORDER BY rowid"
            for row in self._store.rows(query):
                client_id, symbol, state, _, filled, reserved, oco, intent, exchange_id = row
                money = Decimal(filled), Decimal(reserved)
                order = Order(self._decode_intent(intent), OrderState(state), *money, oco, exchange_id)
                if client_id in former:
                    vars(former[client_id]).update(vars(order))
                    order = former[client_id]
                self._orders[client_id] = order
                self.open[client_id] = self.resting.setdefault(symbol, {})[client_id] = order
            self.counts = Counter(dict(self._store.rows("SELECT state, COUNT(*) FROM orders GROUP BY state")))
        except (MalformedMessageError, InvalidOperation, ValueError) as error:
            raise CorruptStoreError(self._store.path, f"the content is damaged ({error})") from error
        if self.instance != instance:
            raise DataStoreError(
                self._store.path, f"is of instance {self.instance}, not {instance}: put the right file there"
            )

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
            with self._store.transaction() as self._connection:
                yield
        except BaseException:
            self._load(self.instance)
            raise
        finally:
            self._connection = None

    def _collecting(self, event_ms: int) -> Iterator[list[OrderEvent]]:
        self._events, self.event_ms = [], event_ms
        yield self._events
        if self._events:
            self._save_account()

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    # ------------------------------------------------------------------ questions

    @property
    def refused_writes(self) -> int:
        """Writes that a full disk refused since they were opened."""
        return self._store.refused

    def position(self, symbol: str) -> Position:
        """Position of `symbol`, flat if there never was one."""
        return self.positions.get(symbol) or flat(symbol)

    def knows(self, client_id: str) -> bool:
        """Tell whether an order of this id ever arrived."""
        return client_id in self.open or bool(
            self._store.rows("SELECT 1 FROM orders WHERE client_id = ?", client_id)
        )

    def is_given_up(self, client_id: str) -> bool:
        """Tell whether this id was found unknown at a reconciliation, so that it may never arrive."""
        return bool(self._store.rows("SELECT 1 FROM tombstones WHERE client_id = ?", client_id))

    def client_id_of(self, symbol: str, exchange_id: str) -> str | None:
        """Our name of the order that the exchange calls `exchange_id`; None if it is not ours."""
        query = "SELECT client_id FROM orders WHERE exchange_id = ? AND exchange_id <> '' AND symbol = ?"
        rows = self._store.rows(query, exchange_id, symbol)
        return str(rows[0][0]) if rows else None

    def read_until(self, subject: str) -> int | None:
        """Exchange time, Unix ms, up to which something of the exchange has been counted in; None: never yet.

        Parameters
        ----------
        subject
            A symbol, whose own trades were read; ``"account"``, which was opened then; ``"transfers"``.
        """
        rows = self._store.rows("SELECT until_ms FROM readings WHERE subject = ?", subject)
        return int(rows[0][0]) if rows else None

    def has_fill(self, symbol: str, fill_id: str) -> bool:
        """Tell whether a fill of this id is counted in."""
        return bool(self._store.rows("SELECT 1 FROM fills WHERE symbol = ? AND fill_id = ?", symbol, fill_id))

    def has_transfer(self, reference: str) -> bool:
        """Tell whether a deposit or withdrawal of this id is counted in."""
        return bool(self._store.rows("SELECT 1 FROM transfers WHERE reference = ?", reference))

    def events_since(self, seq: int, limit: int = _ALL) -> list[OrderEvent]:
        """Events of the account after `seq`, oldest first, and so many at most."""
        return self._decoded("SELECT body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)

    def events_of(self, symbol: str, since: int, limit: int = _ALL) -> list[OrderEvent]:
        """Events of `symbol` after `since`, oldest first, and so many at most."""
        query = "SELECT body FROM events WHERE symbol = ? AND symbol_seq > ? ORDER BY symbol_seq LIMIT ?"
        return self._decoded(query, symbol, since, limit)

    def available_cash(self) -> Decimal:
        """Cash that no resting order and no short position has set aside.

        A short sets aside its proceeds and as much again.
        """
        reserved = sum((order.reserved for order in self.open.values()), ZERO)
        for position in self.positions.values():
            if position.quantity < 0:
                reserved -= 2 * position.quantity * position.entry_price
        return self.cash - reserved

    def funds_moved(self) -> dict[str, Decimal]:
        """What was paid in less what was paid out, ever, by asset; a correction is neither."""
        moved: dict[str, Decimal] = {}
        for event in self.events_of("", 0):
            if isinstance(event, FundsMoved) and event.kind != "correction":
                moved[event.asset] = moved.get(event.asset, ZERO) + event.amount
        return moved

    def _decoded(self, query: str, *arguments: Any) -> list[OrderEvent]:
        return [self._decode_event(body) for (body,) in self._store.rows(query, *arguments)]

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
        self._save_position(symbol)

    def move_funds(self, asset: str, amount: Decimal, kind: FundsKind, why: str) -> None:
        """A balance changed without an order; `why` is the id of the transfer, or an explanation."""
        if kind in ("deposit", "withdrawal"):
            self._execute("INSERT INTO transfers VALUES (?)", (why,))
        if asset == self.quote:
            self.cash += amount
        else:
            self._add_balance(asset, amount)
        self._append(_ACCOUNT, "", FundsMoved, asset=asset, amount=amount, kind=kind, reference=why)

    def note_transfer(self, reference: str) -> None:
        """A deposit or withdrawal was seen that does not concern this account."""
        self._execute("INSERT OR IGNORE INTO transfers VALUES (?)", (reference,))

    def note_read(self, subject: str, until_ms: int) -> None:
        """Something of the exchange has been counted in up to this time; see `read_until`."""
        self._execute("INSERT OR REPLACE INTO readings VALUES (?, ?)", (subject, until_ms))

    def _add_balance(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount
        self._execute("INSERT OR REPLACE INTO balances VALUES (?, ?)", (asset, str(self.balances[asset])))

    def _record(self, order: Order, kind: type[Any], **fields: Any) -> None:
        event = self._append(order.intent.symbol, order.intent.client_id, kind, **fields)
        self._advance(order, event)
        self._save_position(order.intent.symbol)

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
        self._execute("INSERT INTO events VALUES (?, ?, ?, ?)", (event.seq, symbol, symbol_seq, body))
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

    def _save_position(self, symbol: str) -> None:
        position = self.position(symbol)
        money = map(str, (position.quantity, position.entry_price, position.realized_pnl))
        self._execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", (symbol, self.symbol_seq[symbol], *money)
        )

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

    def _save_account(self) -> None:
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


def _lot(entry_id: str, quantity: str, *prices: str | None) -> Lot:
    stop, target, trail = (None if price is None else Decimal(price) for price in prices)
    return Lot(entry_id, Decimal(quantity), stop, target, trail)


def _seed(connection: sqlite3.Connection, instance: str, quote: str, cash: Decimal) -> None:
    connection.execute(
        "INSERT INTO account VALUES (1, ?, ?, 1, 0, ?, ?, 0, 0, ?)",
        (instance, new_generation(), quote, str(cash), str(cash)),
    )
