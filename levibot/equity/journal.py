"""The supervisor's record of equity: ``equity.sqlite``. It blocks, so it is called from a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from levibot.bus.codec import Decoder
from levibot.bus.messages import FundsMoved, Intent, OrderEvent, Side
from levibot.equity.rows import (
    VALUES,
    amounts,
    day_symbol,
    move,
    restore_tally,
    save_tally,
    valuation_of,
    values_of,
)
from levibot.equity.schema import MIGRATIONS
from levibot.equity.valuation import Marks, Valuation, unmarked, value
from levibot.errors import CorruptStoreError
from levibot.execution.position import ZERO
from levibot.execution.reader import StoreReader
from levibot.execution.store import Store, named_errors, set_aside
from levibot.reports.sources import broker_reader, decoded, opening_cash
from levibot.reports.tally import AccountTally

FILE = "equity.sqlite"
DAY_MS = 86_400_000
MINUTES_KEPT = 90 * 1440  # older points are thinned to the last of each hour
_PLACES = ", ".join("?" * len(VALUES.split(",")))


class EquityJournal:
    """Adds the broker's events up and writes down what the account was worth at each minute of market time.

    All numbers follow from the broker's events and the marks that are stored with them, so anybody can
    reckon them again. A new life goes on at the event where the last one stopped. Market time that was
    there before is passed over: a replay that begins anew writes nothing until it is past the newest point.

    Parameters
    ----------
    state_dir
        Folder of the broker's books and of this file, which is made at the first call.

    Attributes
    ----------
    set_aside
        Where a damaged file was moved to, if there was one; the totals are added up again, the curve is lost.
    """

    def __init__(self, state_dir: Path) -> None:
        self.set_aside: Path | None = None
        self._state_dir = state_dir
        self._store: Store | None = None
        self._decode_intent: Decoder[Intent] = Decoder(Intent)
        self._tally: AccountTally | None = None  # None: to be loaded
        self._generation = ""
        self._newest: Valuation | None = None  # of `account`: its marks and its time count
        self._point: Valuation | None = None  # the newest on the curve
        self._started: dict[str, Decimal] = {}  # profit of each symbol when the day began

    def follow(self, event_ms: int, marks: Marks) -> Valuation:
        """Count in what the broker has written, and note a point if a minute has begun.

        Parameters
        ----------
        event_ms
            Market time now.
        marks
            Prices of positions; without that of an open one no point is made.

        Raises
        ------
        DataStoreError
            Nothing is written then, and the next call tries all of it again.
        """
        try:
            with broker_reader(self._state_dir) as broker:
                return self._follow(broker, event_ms, marks)
        except CorruptStoreError as error:
            self._forget()
            if error.path.name == FILE:
                with named_errors(error.path):
                    self.set_aside = set_aside(error.path)
            raise
        except BaseException:
            self._forget()
            raise

    def day_pnl(self, one: Valuation) -> dict[str, Decimal]:
        """Profit of each symbol since 00:00 UTC."""
        return {symbol: held.pnl - self._started.get(symbol, ZERO) for symbol, held in one.symbols.items()}

    def close(self) -> None:
        """Close the file."""
        self._forget()

    # ------------------------------------------------------------------ following

    def _follow(self, broker: StoreReader, event_ms: int, marks: Marks) -> Valuation:
        tally, store = self._current(broker)
        last = self._newest
        event_ms = max(event_ms, last.event_ms if last else 0)
        events = self._news(broker, tally.seq)
        with store.transaction() as connection:
            if last is None or event_ms // DAY_MS > last.day:
                known = (last.marks, last.event_ms) if last else (marks, event_ms)
                events = self._turn_day(connection, tally, events, event_ms // DAY_MS, *known)
            for event in events:
                self._count(connection, tally, event)
            now = value(tally, {**(last.marks if last else {}), **marks}, self._generation, event_ms)
            if not unmarked(tally, marks) and (self._point is None or now.minute > self._point.minute):
                self._add_point(connection, now)
            save_tally(connection, tally, self._generation, now)
        self._newest = now
        return now

    def _turn_day(
        self,
        connection: sqlite3.Connection,
        tally: AccountTally,
        events: Iterable[OrderEvent],
        day: int,
        marks: Marks,
        marked_ms: int,
    ) -> Iterable[OrderEvent]:
        """Note what the account was worth at 00:00 UTC; the events that are left to be counted in."""
        rest: list[OrderEvent] = []
        for event in events:
            if rest or event.event_ms >= day * DAY_MS:
                rest.append(event)
            else:
                self._count(connection, tally, event)
        then = value(tally, marks, self._generation, marked_ms)
        connection.execute(f"INSERT OR IGNORE INTO days VALUES (?, {_PLACES})", (day, *values_of(then)))
        connection.executemany(
            "INSERT OR IGNORE INTO day_symbols VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [day_symbol(day, one) for one in then.symbols.values()],
        )
        self._started = {symbol: one.pnl for symbol, one in then.symbols.items()}
        oldest = day * 1440 - MINUTES_KEPT
        connection.execute(
            "DELETE FROM points WHERE minute < ? AND minute NOT IN"
            " (SELECT MAX(minute) FROM points WHERE minute < ? GROUP BY minute / 60)",
            (oldest, oldest),
        )
        return rest

    def _add_point(self, connection: sqlite3.Connection, now: Valuation) -> None:
        connection.execute(f"INSERT INTO points VALUES (?, {_PLACES})", (now.minute, *values_of(now)))
        self._point = now

    def _count(self, connection: sqlite3.Connection, tally: AccountTally, event: OrderEvent) -> None:
        tally.apply(event)
        if isinstance(event, FundsMoved):
            row = move(self._generation, event)
            connection.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    @staticmethod
    def _news(broker: StoreReader, seq: int) -> Iterable[OrderEvent]:
        return decoded(broker, "SELECT body FROM events WHERE seq > ? ORDER BY seq", seq)

    # ------------------------------------------------------------------ the file

    def _current(self, broker: StoreReader) -> tuple[AccountTally, Store]:
        """The tally of the broker's present database, and the file."""
        generation, seq, quote = broker.row("SELECT generation, seq, quote FROM account")
        if self._store is None:
            self._store = Store(self._state_dir / FILE, MIGRATIONS, lambda _connection: None)
        if self._tally is None:
            self._load(self._store, broker, quote)
        assert self._tally is not None
        if generation != self._generation or seq < self._tally.seq:  # another database was put in its place
            self._tally, self._generation = AccountTally(quote, opening_cash(broker)), generation
        self._tally.side_of = lambda client_id: self._side(broker, client_id)
        return self._tally, self._store

    def _side(self, broker: StoreReader, client_id: str) -> Side:
        (intent,) = broker.row("SELECT intent FROM orders WHERE client_id = ?", client_id)
        return self._decode_intent(intent).side

    def _load(self, store: Store, broker: StoreReader, quote: str) -> None:
        self._tally, self._generation, self._newest = AccountTally(quote, opening_cash(broker)), "", None
        for _, _, generation, seq, cash, funds, balances, event_ms, marks in store.rows("SELECT * FROM account"):
            symbols = store.rows("SELECT * FROM symbols ORDER BY rowid")
            restore_tally(self._tally, (seq, cash, funds, balances), symbols)
            self._generation = generation
            self._newest = value(self._tally, amounts(marks), generation, event_ms)
        newest = store.rows(f"SELECT {VALUES} FROM points ORDER BY minute DESC LIMIT 1")
        self._point = next((valuation_of(row, quote) for row in newest), None)
        started = store.rows(
            "SELECT symbol, realized, unrealized FROM day_symbols WHERE day = (SELECT MAX(day) FROM days)"
        )
        self._started = {symbol: Decimal(realized) + Decimal(open_) for symbol, realized, open_ in started}

    def _forget(self) -> None:
        """What memory holds may be more than what was committed: load it again."""
        self._tally = self._newest = self._point = None
        if self._store is not None:
            self._store.close()
            self._store = None
