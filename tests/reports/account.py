"""A state directory as broker and engines leave it, made with the real books and ledgers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from levibot.bus.messages import Intent, OrderEvent, Reconciled
from levibot.execution.ledger import Ledger
from levibot.symbols import on_disk
from tests.execution.examples import SYMBOL, Desk, market, tick

ETH = "ETH/USDT"
START_MS = 1_700_000_000_000


@dataclass
class Account:
    """Trades on the paper exchange; engines hear of it when `settle` is called.

    Parameters
    ----------
    folder
        The state directory.
    """

    folder: Path
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    event_ms: int = START_MS

    def __post_init__(self) -> None:
        self.desk = Desk(self.folder / "broker.sqlite")
        self.desk.exchange.set_market(market(ETH))

    def price(self, price: float, symbol: str = SYMBOL, *, later_ms: int = 1000) -> list[OrderEvent]:
        """A price, some time after the one before."""
        self.event_ms += later_ms
        return self.desk.exchange.on_tick(tick(price, symbol=symbol, event_ms=self.event_ms))

    def ledger(self, symbol: str = SYMBOL) -> Ledger:
        """The ledger of a symbol, opened."""
        if symbol not in self.ledgers:
            path = self.folder / "ledgers" / f"{on_disk(symbol)}.sqlite"
            self.ledgers[symbol] = Ledger.open(path, symbol, "test")
        return self.ledgers[symbol]

    def order(self, intent: Intent) -> list[OrderEvent]:
        """An order, as an engine makes it: journaled, sent."""
        self.ledger(intent.symbol).journal(intent)
        return self.desk.exchange.submit(intent)

    def settle(self, *symbols: str) -> None:
        """Let engines hear of all that has happened; without names all of them."""
        books = self.desk.books
        for symbol in symbols or tuple(self.ledgers):
            ledger = self.ledger(symbol)
            events = books.events_of(symbol, ledger.last_seq)
            seq = books.symbol_seq.get(symbol, 0)
            ledger.reconcile(Reconciled(1, symbol, seq, events, books.position(symbol), [], []))

    def close(self) -> None:
        """As at the end of all processes."""
        for ledger in self.ledgers.values():
            ledger.close()
        self.desk.books.close()


def spoil(path: Path) -> None:
    """Damage the pages of a database."""
    body = bytearray(path.read_bytes())
    body[4096:] = b"\xa5" * (len(body) - 4096)
    path.write_bytes(bytes(body))
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)


def make_newer(path: Path) -> None:
    """Let a database look like that of a later LeviBot."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def text(amount: Any) -> Decimal:
    """An exported amount."""
    assert isinstance(amount, str), "amounts are text"
    return Decimal(amount)
