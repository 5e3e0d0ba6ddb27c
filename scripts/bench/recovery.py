"""Opening the records of 100 000 fills: a ledger, the broker's books, and a ledger made anew from these."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from levibot.bus.messages import Fill, Intent, Reconciled, Role, Side
from levibot.execution.books import Books
from levibot.execution.ledger import Ledger
from scripts.bench.figures import LONG, RUNS, Figure

_SYMBOL, _INSTANCE = "BTC/USDT", "BEN2"
_FILLS = 100_000
_OF_REBUILD = _FILLS if LONG else 10_000
_AT_ONCE = 1_000  # events in one answer of the broker, orders in one commit


def rows() -> Iterator[Figure]:
    """Recovery from files that the system has in its cache, as after a kill."""
    with tempfile.TemporaryDirectory() as name:
        broker, ledger = Path(name) / "broker.sqlite", Path(name) / "ledger.sqlite"
        books = _books(broker)
        _trade(books, _FILLS)
        took = _rebuild(books, ledger, _OF_REBUILD)
        beside = f"in parts of {_AT_ONCE} events, each one commit"
        yield Figure(
            f"ledger rebuilt from the broker, {_OF_REBUILD:,} fills", (took,), "s", None, "at most", beside
        )
        if not LONG:
            _rebuild(books, ledger, _FILLS)
        books.close()
        for what, path, open_it in (
            (f"ledger with {_FILLS:,} fills opened, ready to reconcile", ledger, _open_ledger),
            (f"broker's books with {_FILLS:,} fills opened, ready to serve", broker, _open_books),
        ):
            times = tuple(_timed(open_it, path) for _ in range(RUNS))
            raw = sorted(_timed(_read, path) for _ in range(RUNS))[RUNS // 2]
            size = path.stat().st_size / 1e6
            yield Figure(
                what, times, "ms", 1000, "at most", f"SQLite alone reads the events: {raw:.0f} ms, {size:.0f} MB"
            )


def _books(path: Path) -> Books:
    return Books(path, _INSTANCE, "USDT", Decimal(10_000_000))


def _trade(books: Books, fills: int) -> None:
    """Orders that are accepted and filled, in and out in turn."""
    for first in range(0, fills, _AT_ONCE):
        with books.transaction(first):
            for number in range(first, first + _AT_ONCE):
                out = number % 2 == 1
                role: Role = "exit" if out else "entry"
                side: Side = "sell" if out else "buy"
                quantity = Decimal("0.01234")
                intent = Intent(books.new_client_id(role), _SYMBOL, side, "market", quantity, role, number)
                order = books.submit(intent, intent)
                books.accept(order)
                price = Decimal(60_000 + number % 997) + Decimal("0.25")
                fee = Decimal("0.7404")
                books.fill(order, Fill(f"f{number}", intent.quantity, price, fee, "USDT", "taker"))


def _rebuild(books: Books, path: Path, fills: int) -> float:
    """Fill a new ledger from the books; seconds."""
    path.unlink(missing_ok=True)
    ledger, started = Ledger.open(path, _SYMBOL, _INSTANCE), time.perf_counter()
    while ledger.last_seq < 3 * fills:
        events = books.events_of(_SYMBOL, ledger.last_seq, _AT_ONCE)
        known = books.symbol_seq[_SYMBOL]
        ledger.reconcile(Reconciled(1, _SYMBOL, known, events, books.position(_SYMBOL), [], []))
    took = time.perf_counter() - started
    ledger.close()
    return took


def _open_ledger(path: Path) -> None:
    ledger = Ledger.open(path, _SYMBOL, _INSTANCE)
    if ledger.set_aside is not None or ledger.last_seq != 3 * _FILLS:
        raise RuntimeError(f"{path} is not what was written")
    ledger.open_ids()
    ledger.close()


def _open_books(path: Path) -> None:
    books = _books(path)
    books.position(_SYMBOL)
    books.close()


def _read(path: Path) -> None:
    connection = sqlite3.connect(path)
    for _ in connection.execute("SELECT body FROM events"):
        pass
    connection.close()


def _timed(act: Callable[[Path], None], path: Path) -> float:
    started = time.perf_counter()
    act(path)
    return (time.perf_counter() - started) * 1000
