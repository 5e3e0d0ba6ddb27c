"""Equity over time: exact, without gap or double over restarts, and not distorted by what is put in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from levibot.equity.document import day_opening, equity_document
from levibot.equity.journal import DAY_MS, FILE, MINUTES_KEPT, EquityJournal
from levibot.equity.schema import MIGRATIONS
from levibot.errors import CorruptStoreError, FullDiskError
from levibot.execution.books import Books
from levibot.execution.store import Store
from levibot.reports.audit import audit
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.full_disk import full_disk
from tests.reports.account import ETH, Account, spoil

MINUTE = 60_000
MIDNIGHT = 1_700_006_400_000  # 2023-11-15


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path)
    account.event_ms = MIDNIGHT - 10 * MINUTE
    yield account
    account.close()


def rows(account: Account, query: str) -> list[Any]:
    connection = sqlite3.connect(account.folder / FILE)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def minutes(account: Account) -> list[int]:
    return [minute for (minute,) in rows(account, "SELECT minute FROM points ORDER BY minute")]


def test_equity_is_what_events_and_marks_make_it(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.price(50, ETH)
    account.order(entry("3"))
    account.order(entry("2", symbol=ETH))
    found = journal.follow(account.event_ms, {SYMBOL: D("101.5"), ETH: D(49)})
    books = account.desk.books
    assert found.cash == books.cash
    assert found.equity == books.cash + 3 * D("101.5") + 2 * D(49)
    assert (found.realized, found.unrealized, found.fees) == (D("-0.8"), D("4.5") - 2, D("0.8"))
    assert found.profit == found.realized + found.unrealized
    assert found.symbols[SYMBOL].realized == books.position(SYMBOL).realized_pnl
    journal.close()


def test_where_nothing_is_recorded_yet_nothing_is_told(account: Account) -> None:
    nothing = {"quote": "", "now": None, "symbols": [], "days": [], "points": [], "moves": []}
    assert equity_document(account.folder, 5) == nothing
    Store(account.folder / FILE, MIGRATIONS, lambda _: None).close()  # made, and then the process was killed
    assert equity_document(account.folder, 5) == nothing
    account.price(100)
    journal = EquityJournal(account.folder)
    journal.follow(account.event_ms, {})
    assert equity_document(account.folder, 5)["now"]["equity"] == "10000"
    journal.close()


def test_there_is_one_point_a_minute_over_restarts(account: Account) -> None:
    account.price(100)
    for _ in range(4):
        journal = EquityJournal(account.folder)  # a new life each time
        for _ in range(3):
            account.order(entry("1"))
            account.order(leave("1"))
            journal.follow(account.event_ms, {SYMBOL: D(100)})
            account.price(100, later_ms=MINUTE // 2)
        journal.close()
    first = (MIDNIGHT - 10 * MINUTE + 1000) // MINUTE
    assert minutes(account) == list(range(first, first + 6))
    (seq,) = rows(account, "SELECT seq FROM account")[0]
    assert seq == account.desk.books.seq
    final = EquityJournal(account.folder).follow(account.event_ms, {})
    assert final.realized == account.desk.books.position(SYMBOL).realized_pnl, "nothing is counted twice"


def test_market_time_that_was_there_before_writes_nothing(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    for later in (3, 2, 1, 3, 4):
        journal.follow(account.event_ms + later * MINUTE, {})
    assert len(minutes(account)) == 2
    journal.close()


def test_without_the_price_of_an_open_position_there_is_no_point(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("1"))
    assert journal.follow(account.event_ms, {}).equity == D(10_000) - D("0.2"), "told at the entry price"
    assert minutes(account) == []
    journal.follow(account.event_ms, {SYMBOL: D(90)})
    ((equity,),) = rows(account, "SELECT equity FROM points")
    assert Decimal(equity) == D("9989.8")
    journal.close()


def test_the_day_begins_with_what_was_known_before_midnight(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("1"))
    journal.follow(account.event_ms, {SYMBOL: D(110)})
    account.price(120, later_ms=MINUTE)
    account.order(leave("1"))  # before midnight, but looked at after it
    account.event_ms = MIDNIGHT
    account.price(130)
    account.order(entry("1"))
    found = journal.follow(account.event_ms, {SYMBOL: D(131)})
    first, second = equity_document(account.folder, 9)["days"]
    assert first["pnl"] == str(D(20) - D("0.44"))
    assert first["equity_start"] == "10000", "an account begins with what was put in"
    assert second["equity_start"] == first["equity_end"] == str(D(10_020) - D("0.44"))
    assert second["pnl"] == str(1 - D("0.26"))
    assert journal.day_pnl(found) == {SYMBOL: 1 - D("0.26")}
    journal.close()
    again = EquityJournal(account.folder)
    assert again.day_pnl(again.follow(account.event_ms, {SYMBOL: D(131)})) == {SYMBOL: 1 - D("0.26")}
    again.close()


def test_what_is_put_in_or_taken_out_is_no_profit(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("10"))  # 2 of fees
    journal.follow(account.event_ms, {SYMBOL: D(100)})
    journal.follow(account.event_ms + MINUTE, {SYMBOL: D(110)})
    with account.desk.books.transaction(account.event_ms + 2 * MINUTE):
        account.desk.books.move_funds("USDT", D(90_000), "deposit", "t-1")
        account.desk.books.move_funds("BNB", D(2), "deposit", "t-2")
    journal.follow(account.event_ms + 2 * MINUTE, {SYMBOL: D(110)})
    found = journal.follow(account.event_ms + 3 * MINUTE, {SYMBOL: D(210)})
    assert (found.funds, found.profit) == (D(100_000), D(1098))
    document = equity_document(account.folder, 1)
    assert [(move["kind"], move["amount"], move["asset"]) for move in document["moves"]] == [
        ("deposit", "90000", "USDT"),
        ("deposit", "2", "BNB"),
    ]
    (day,) = document["days"]
    expected = (D(10_098) / D(10_000)) * (D(101_098) / D(100_098)) - 1
    assert (day["moved"], day["pnl"]) == ("90000", "1098")
    assert abs(Decimal(day["return_ratio"]) - expected) < D("1e-9")
    journal.close()


def test_the_return_of_a_first_day_is_measured_on_what_was_put_in(tmp_path: Path) -> None:
    books = Books(tmp_path / "broker.sqlite", "test", "USDT", D(0))
    journal = EquityJournal(tmp_path)
    journal.follow(MIDNIGHT, {})
    with books.transaction(MIDNIGHT + MINUTE):
        books.move_funds("USDT", D(5_000), "opening", "t-1")
    journal.follow(MIDNIGHT + MINUTE, {})
    with books.transaction(MIDNIGHT + 2 * MINUTE):
        books.pay_funding(SYMBOL, D(-50), D(0), D(100))
    journal.follow(MIDNIGHT + 2 * MINUTE, {})
    (day,) = equity_document(tmp_path, 1)["days"]
    assert (day["pnl"], day["moved"], day["return_ratio"]) == ("-50", "5000", "-0.01")
    journal.close()
    books.close()


def test_a_rebuilt_ledger_goes_on_with_the_profit_of_the_day(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("1"))
    journal.follow(account.event_ms, {SYMBOL: D(110)})
    account.event_ms = MIDNIGHT
    account.price(130)
    account.order(entry("1"))
    today = journal.day_pnl(journal.follow(account.event_ms, {SYMBOL: D(131)}))[SYMBOL]
    account.ledger().close()
    path = account.folder / "ledgers" / "BTC-USDT.sqlite"
    spoil(path)
    account.ledgers.clear()
    account.settle(SYMBOL) if account.ledger().set_aside else pytest.fail("it was not damaged")
    opening_of = partial(day_opening, account.folder, SYMBOL)
    assert account.ledger().daily_pnl(D(131), account.event_ms, opening_of) == today
    assert account.ledger().daily_pnl(D(131), account.event_ms) == today, "it is written down"
    assert day_opening(account.folder, ETH, MIDNIGHT // DAY_MS) == 0, "not traded before"
    assert day_opening(account.folder, SYMBOL, MIDNIGHT // DAY_MS + 1) is None
    journal.close()


def test_an_audit_says_what_it_cannot_reckon_again_after_a_restore(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    journal.follow(account.event_ms, {})
    journal.close()
    assert audit(account.folder).checked[FILE] == "2 points and days"
    account.desk.books.begin_generation(account.event_ms)
    told = audit(account.folder)
    assert told.checked[FILE] == "0 points and days, 2 from before the account was put back, not looked at"
    assert not told.differences


def test_old_points_are_thinned_to_one_an_hour(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    start = MIDNIGHT
    for minute in range(0, 180, 7):
        journal.follow(start + minute * MINUTE, {})
    assert len(minutes(account)) == 26
    journal.follow(start + MINUTES_KEPT * MINUTE + 2 * DAY_MS, {})
    base = start // MINUTE
    assert minutes(account)[:-1] == [base + 56, base + 119, base + 175], "the last of each hour"
    assert len(rows(account, "SELECT day FROM days")) == 2, "days are kept for ever"
    journal.close()


def test_another_database_of_the_broker_is_added_up_anew(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("1"))
    journal.follow(account.event_ms, {SYMBOL: D(100)})
    account.close()
    for path in account.folder.glob("broker.sqlite*"):
        path.unlink()
    Books(account.folder / "broker.sqlite", "test", "USDT", D(777)).close()
    found = journal.follow(account.event_ms + MINUTE, {})
    assert (found.equity, found.realized, found.symbols) == (D(777), 0, {})
    journal.close()


def test_a_damaged_file_is_set_aside_and_the_totals_are_there_again(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    account.order(entry("1"))
    before = journal.follow(account.event_ms, {SYMBOL: D(100)})
    journal.close()
    spoil(account.folder / FILE)
    with pytest.raises(CorruptStoreError):
        journal.follow(account.event_ms, {SYMBOL: D(100)})
    assert journal.set_aside is not None
    assert journal.set_aside.exists()
    assert journal.follow(account.event_ms, {SYMBOL: D(100)}) == before
    journal.close()


def test_what_the_disk_refuses_is_written_when_there_is_room(account: Account) -> None:
    journal = EquityJournal(account.folder)
    account.price(100)
    journal.follow(account.event_ms, {})
    account.order(entry("1"))
    account.order(leave("1"))
    with full_disk(), pytest.raises(FullDiskError):
        journal.follow(account.event_ms + MINUTE, {})
    assert len(minutes(account)) == 1
    found = journal.follow(account.event_ms + MINUTE, {})
    assert found.realized == account.desk.books.position(SYMBOL).realized_pnl
    assert len(minutes(account)) == 2
    journal.close()
