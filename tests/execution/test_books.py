"""The broker's database: old ones are brought forward, damage is found, and no money in it is a binary float."""

from __future__ import annotations

import decimal
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgpack
import pytest

from levibot.bus.messages import Fill, FundsMoved
from levibot.errors import CorruptStoreError
from levibot.execution.books import Books
from levibot.execution.books_schema import MIGRATIONS
from levibot.execution.ledger import Ledger
from levibot.execution.store import Store
from tests.execution.examples import SYMBOL, D, Desk, entry

_MONEY = re.compile(r"cash|amount|quantity|price|pnl|filled|reserved|fee|equity|opening")


def _books(path: Path) -> Books:
    return Books(path, "test", "USDT", D(10_000))


def _busy(path: Path) -> Desk:
    """Fills with protection, a fee in a third asset, funding and a deposit."""
    desk = Desk(path)
    desk.price(100.37)
    desk.exchange.submit(entry("1.7", stop_loss=D("99.1"), take_profit=D("120.3")))
    books = desk.books
    with books.transaction(1):
        intent = entry("0.5")
        order = books.submit(intent, intent)
        books.fill(order, Fill("third", D("0.5"), D("100.1"), D("0.0001"), "BNB", "taker"))
        books.pay_funding(SYMBOL, D("-0.13"), D("0.0001"), D("100.2"))
        books.move_funds("USDT", D("12.5"), "deposit", "t-1")
    return desk


def test_a_database_of_the_first_schema_is_brought_forward_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    row = "INSERT INTO account VALUES (1, 'test', 'aaaaaaaa', 7, 0, 'USDT', '9999.10')"
    Store(path, MIGRATIONS[:1], lambda connection: _run(connection, row)).close()
    books = _books(path)
    assert (books.cash, books.restored_ms, books.balances) == (D("9999.10"), 0, {})
    with books.transaction(1):
        books.move_funds("BNB", D(3), "deposit", "t-1")
    books.close()
    again = _books(path)
    assert (again.seq, again.balances) == (1, {"BNB": D(3)})
    again.close()
    (kept,) = tmp_path.glob("broker.sqlite.schema-1-*.bak")
    old = sqlite3.connect(kept)
    assert old.execute("SELECT cash FROM account").fetchall() == [("9999.10",)]
    old.close()


def _run(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement)


def test_a_flipped_bit_in_the_history_is_found_and_the_file_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    _busy(path).books.close()
    content = bytearray(path.read_bytes())
    at = content.index(b"12.5")
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError, match="not what was written"):
        _books(path)
    assert path.read_bytes() == content


def test_no_money_is_stored_as_a_binary_float(tmp_path: Path) -> None:
    desk = _busy(tmp_path / "broker.sqlite")
    ledger = Ledger.open(tmp_path / "ledger.sqlite", SYMBOL, "test")
    ledger.apply(*desk.books.events_of(SYMBOL, 0))
    ledger.daily_pnl(D("101.3"), 1_700_000_000_000)
    ledger.close()
    desk.books.close()
    amounts = 0
    for name in ("broker.sqlite", "ledger.sqlite"):
        connection = sqlite3.connect(tmp_path / name)
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            assert {column[2] for column in columns} <= {"TEXT", "INTEGER", "BLOB"}, table
            for _, column, declared, *_ in columns:
                found = connection.execute(f"SELECT {column}, typeof({column}) FROM {table}").fetchall()
                assert all(kind != "real" for _, kind in found), (table, column)
                if _MONEY.search(column):
                    assert declared == "TEXT", (table, column)
                    amounts += sum(str(Decimal(value)) == value for value, _ in found)
        connection.close()
    assert amounts >= 15
    bodies = [body for name in ("broker", "ledger") for body in _bodies(tmp_path / f"{name}.sqlite")]
    assert len(bodies) >= 20
    assert not [value for body in bodies for value in _values(msgpack.unpackb(body)) if isinstance(value, float)]


def _bodies(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT body FROM events UNION ALL SELECT intent FROM orders").fetchall()
    connection.close()
    return [body for (body,) in rows]


def _values(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        for part in content:
            yield from _values(part)
    else:
        yield content


def test_transfers_go_on_after_a_restart_and_change_no_position(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "broker.sqlite")
    for number in range(2):
        with desk.books.transaction(number):
            desk.books.move_funds("USDT", D("50.5"), "deposit", f"transfer-{number}")
        desk.restart()
    assert desk.books.cash == D(10_101)
    moves = desk.books.events_since(0)
    assert [(event.seq, event.symbol_seq) for event in moves] == [(1, 1), (2, 2)]
    assert all(isinstance(event, FundsMoved) for event in moves)
    assert desk.books.has_transfer("transfer-1")
    desk.books.close()


def test_what_the_account_began_with_is_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "broker.sqlite", cash="123.45")
    with desk.books.transaction(0):
        desk.books.move_funds("USDT", D(-23), "withdrawal", "1")
    desk.books.close()
    with sqlite3.connect(tmp_path / "broker.sqlite") as connection:
        assert connection.execute("SELECT opening, cash FROM account").fetchone() == ("123.45", "100.45")
    connection.close()


def test_money_is_reckoned_alike_whatever_a_library_does_to_the_rounding_of_decimals(tmp_path: Path) -> None:
    def positions(name: str) -> list[str]:
        desk = Desk(tmp_path / name)
        for price in (100.37, 100.41, 100.13, 101.7, 99.9):
            desk.price(price)
            desk.exchange.submit(entry("1.7"))
        found = desk.books.position(SYMBOL)
        desk.books.close()
        return [str(found.entry_price), str(found.realized_pnl)]

    expected = positions("a.sqlite")
    with decimal.localcontext(prec=9, rounding=decimal.ROUND_CEILING):
        assert positions("b.sqlite") == expected
