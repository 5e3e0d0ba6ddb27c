"""What the broker's books hold, as of the last commit: read from the database once, and asked from then on."""

from __future__ import annotations

import sqlite3
import weakref
from collections import Counter
from decimal import Decimal, InvalidOperation
from itertools import takewhile
from pathlib import Path
from typing import Any

from levibot.bus.codec import Decoder
from levibot.bus.messages import FundsMoved, Intent, OrderEvent, Position
from levibot.errors import CorruptStoreError, DataStoreError, MalformedMessageError
from levibot.execution.books_schema import MIGRATIONS
from levibot.execution.collateral import set_aside
from levibot.execution.history import verified
from levibot.execution.ids import new_generation
from levibot.execution.lots import Lot, Lots
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO, flat
from levibot.execution.refusals import Refusal
from levibot.execution.store import Store

_LOOKED_AT = 50  # events at a time
_ALL = -1  # SQLite's LIMIT that is none
ACCOUNT = ""  # instead of a symbol, of events that concern the account as a whole


class BooksReader:
    """State of one account, and questions about it; `levibot.execution.books.Books` changes it.

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
            ((self.symbol_seq[ACCOUNT],),) = self._store.rows(query, ACCOUNT)
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

    def close(self) -> None:
        """Close the database."""
        self._store.close()

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

    def given_up_refusal(self, client_id: str) -> str | None:
        """Why an order of this id may never arrive: it was found unknown at a reconciliation; None: it may."""
        if self._store.rows("SELECT 1 FROM tombstones WHERE client_id = ?", client_id):
            return Refusal.GIVEN_UP.because("this client id was given up at a reconciliation: make a new one")
        return None

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

    def intent_of(self, client_id: str) -> Intent:
        """An order that is known, at its end too, as it rested last."""
        ((body,),) = self._store.rows("SELECT intent FROM orders WHERE client_id = ?", client_id)
        return self._decode_intent(body)

    def is_set_aside(self, symbol: str, trade_id: str) -> bool:
        """Tell whether an operator has said that a trade of ours was dealt with by hand."""
        return self.has_transfer(trade_reference(symbol, trade_id))

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

    def written_ms(self, symbol: str) -> int:
        """Market time of the newest event of `symbol` that has one, Unix ms; 0: there is none.

        Earlier versions wrote 0 between a restart and the first price.
        """
        end = self.symbol_seq.get(symbol, 0)
        while end > 0:
            begin = max(0, end - _LOOKED_AT)
            newest_ms = max((event.event_ms for event in self.events_of(symbol, begin)), default=0)
            if newest_ms:
                return newest_ms
            end = begin
        return 0

    def available_cash(self) -> Decimal:
        """Cash that no open order and no short position has set aside; payments and losses can take it below 0."""
        reserved = sum((order.reserved for order in self.open.values()), ZERO)
        return self.cash - reserved - sum(map(set_aside, self.positions.values()), ZERO)

    def selling(self, ahead_of: Intent) -> Decimal:
        """What entries of the same symbol that came before an order have still to sell."""
        ahead = takewhile(
            lambda order: order.intent.client_id != ahead_of.client_id,
            self.resting.get(ahead_of.symbol, {}).values(),
        )
        sales = (order for order in ahead if order.intent.side == "sell" and not order.intent.reduce_only)
        return sum((order.remaining for order in sales), ZERO)

    def funds_moved(self) -> dict[str, Decimal]:
        """What was paid in less what was paid out, ever, by asset; a correction is neither."""
        moved: dict[str, Decimal] = {}
        for event in self.events_of(ACCOUNT, 0):
            if isinstance(event, FundsMoved) and event.kind != "correction":
                moved[event.asset] = moved.get(event.asset, ZERO) + event.amount
        return moved

    def _decoded(self, query: str, *arguments: Any) -> list[OrderEvent]:
        return [self._decode_event(body) for (body,) in self._store.rows(query, *arguments)]


def trade_reference(symbol: str, trade_id: str) -> str:
    """Name under which a trade is noted that does not concern the account; no transfer is called so."""
    return f"trade {symbol} {trade_id}"


def _lot(entry_id: str, quantity: str, *prices: str | None) -> Lot:
    stop, target, trail = (None if price is None else Decimal(price) for price in prices)
    return Lot(entry_id, Decimal(quantity), stop, target, trail)


def _seed(connection: sqlite3.Connection, instance: str, quote: str, cash: Decimal) -> None:
    connection.execute(
        "INSERT INTO account VALUES (1, ?, ?, 1, 0, ?, ?, 0, 0, ?)",
        (instance, new_generation(), quote, str(cash), str(cash)),
    )
