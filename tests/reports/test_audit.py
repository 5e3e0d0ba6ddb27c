"""Every way in which books, ledgers and equity can disagree is found and named, and agreement is agreed to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from levibot.equity.journal import EquityJournal
from levibot.execution.ledger import Ledger
from levibot.reports.audit import Audit, audit
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.reports.account import ETH, Account, make_newer, spoil

BROKER, LEDGER, EQUITY = "broker.sqlite", "ledgers/BTC-USDT.sqlite", "equity.sqlite"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path)
    yield account
    account.close()


def trade(account: Account) -> None:
    """Fills, stops, funding, money that moves, two days of equity."""
    journal = EquityJournal(account.folder)
    for symbol, price in ((SYMBOL, 100), (ETH, 50)):
        account.price(price, symbol)
        account.order(
            entry("1.234", symbol=symbol, stop_loss=D(price) * D("0.9"), take_profit=D(price) * D("1.1"))
        )
    with account.desk.books.transaction(account.event_ms):
        account.desk.books.pay_funding(SYMBOL, D("-0.1"), D("0.001"), D(100))
        account.desk.books.move_funds("USDT", D("33.3"), "deposit", "t-1")
        account.desk.books.move_funds("BNB", D(1), "deposit", "t-2")
    journal.follow(account.event_ms, {SYMBOL: D("101.1"), ETH: D("49.9")})
    account.order(entry("0.777"))
    account.order(leave("0.5"))
    account.price(120, ETH, later_ms=86_400_000)
    account.settle()
    journal.follow(account.event_ms, {SYMBOL: D("103.7")})
    journal.close()


def names(result: Audit) -> set[tuple[str, str]]:
    return {(difference.where, difference.name) for difference in result.differences}


def tamper(path: Path, *statements: str) -> None:
    """Change a database behind everybody's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, "the statement changed something"


def test_books_that_agree_are_agreed_to(account: Account) -> None:
    trade(account)
    result = audit(account.folder)
    assert result.differences == []
    assert result.behind == {SYMBOL: 0, ETH: 0}
    assert set(result.checked) == {BROKER, "BTC-USDT.sqlite", "ETH-USDT.sqlite", EQUITY}
    assert result.checked[EQUITY] == "4 points and days"
    assert result.books.positions[SYMBOL] == account.desk.books.position(SYMBOL).quantity


def test_what_engines_have_not_heard_yet_and_the_broker_has_not_got_yet_is_no_difference(account: Account) -> None:
    trade(account)
    account.desk.exchange.submit(entry("1"))
    account.ledger().journal(entry("1"))
    result = audit(account.folder)
    assert result.differences == []
    assert result.behind[SYMBOL] > 0


def test_a_folder_in_which_nothing_was_traded_is_in_order(tmp_path: Path) -> None:
    assert audit(tmp_path) == Audit()


@pytest.mark.parametrize(
    ("file", "statement", "name"),
    [
        (BROKER, "UPDATE account SET cash = cash || '1'", "cash"),
        (BROKER, "UPDATE balances SET amount = '1.0000001'", "balance"),
        (BROKER, "UPDATE positions SET quantity = '1.2340001' WHERE symbol = 'BTC/USDT'", "position"),
        (BROKER, "UPDATE positions SET realized_pnl = realized_pnl || '1' WHERE symbol = 'BTC/USDT'", "position"),
        (BROKER, "UPDATE orders SET filled = '0.1' WHERE state = 'FILLED'", "order"),
        (BROKER, "UPDATE orders SET state = 'CANCELLED' WHERE state = 'FILLED'", "order"),
        (BROKER, "DELETE FROM orders WHERE state = 'FILLED'", "order"),
        (BROKER, "DELETE FROM fills WHERE rowid = (SELECT MAX(rowid) FROM fills)", "fill"),
        (BROKER, "UPDATE fills SET fill_id = 'another' WHERE rowid = 1", "fill"),
        (BROKER, "DELETE FROM events WHERE seq = 3", "sequence"),
        (BROKER, "DELETE FROM events WHERE seq = (SELECT MAX(seq) FROM events)", "sequence"),
        (BROKER, "UPDATE account SET history_crc = history_crc + 1", "checksum"),
        (LEDGER, "UPDATE ledger SET quantity = '1.5'", "position"),
        (LEDGER, "UPDATE ledger SET realized_pnl = realized_pnl || '1'", "position"),
        (LEDGER, "UPDATE ledger SET trade_count = 7", "position"),
        (LEDGER, "UPDATE orders SET state = 'UNKNOWN' WHERE state = 'ACCEPTED'", "order"),
        (LEDGER, "UPDATE orders SET open = 1 WHERE state = 'FILLED'", "order"),
        (LEDGER, "DELETE FROM events WHERE symbol_seq = 2", "sequence"),
        (EQUITY, "UPDATE points SET equity = equity || '1'", "equity"),
        (EQUITY, "UPDATE points SET marks = '{}' WHERE marks != '{}'", "equity"),
        (EQUITY, "UPDATE days SET realized = '0.5'", "equity"),
        (EQUITY, "UPDATE day_symbols SET fees = '0.5'", "equity"),
        (EQUITY, "UPDATE points SET seq = 9999", "equity"),
    ],
)
def test_a_difference_in_the_last_digit_is_named(account: Account, file: str, statement: str, name: str) -> None:
    trade(account)
    account.close()
    tamper(account.folder / file, statement)
    assert (Path(file).name, name) in names(audit(account.folder))


def test_an_event_that_is_not_the_brokers_is_found(account: Account) -> None:
    trade(account)
    account.close()
    swapped = "(SELECT body FROM events AS other WHERE other.symbol_seq = 4)"
    tamper(account.folder / LEDGER, f"UPDATE events SET body = {swapped} WHERE symbol_seq = 3")
    found = names(audit(account.folder))
    assert {("BTC-USDT.sqlite", "history"), ("BTC-USDT.sqlite", "checksum")} <= found


def test_books_that_were_put_back_from_an_older_copy_are_found(account: Account) -> None:
    account.price(100)
    account.order(entry("1"))
    account.settle()
    account.desk.books.close()
    copy = (account.folder / BROKER).read_bytes()
    account.desk.start()
    account.price(100)
    account.order(leave("1"))
    account.settle()
    account.close()
    for path in account.folder.glob(f"{BROKER}*"):
        path.unlink()
    (account.folder / BROKER).write_bytes(copy)
    assert names(audit(account.folder)) == {("BTC-USDT.sqlite", "history")}


@pytest.mark.parametrize("file", [BROKER, LEDGER, EQUITY])
def test_a_file_that_cannot_be_read_is_a_difference_and_the_rest_is_looked_at(account: Account, file: str) -> None:
    trade(account)
    account.close()
    make_newer(account.folder / file)
    result = audit(account.folder)
    assert names(result) == {(Path(file).name, "unreadable")}
    assert bool(result.checked) == (file != BROKER)
    spoil(account.folder / file)
    assert Path(file).name in {difference.where for difference in audit(account.folder).differences}


def test_a_restored_ledger_that_learnt_all_again_agrees(account: Account) -> None:
    trade(account)
    account.ledgers.pop(SYMBOL).close()
    (account.folder / LEDGER).unlink()
    Ledger.open(account.folder / LEDGER, SYMBOL, "test").close()
    account.settle(SYMBOL)
    assert audit(account.folder).differences == []
