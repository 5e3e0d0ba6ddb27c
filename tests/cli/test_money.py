"""Trades, orders and positions as they lie on disk: exact, complete, and in spite of a damaged file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.cli.app import ERROR, NO_SUCH_SYMBOL, OK, USAGE, run_command
from levibot.reports.performance import max_drawdown
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.reports.account import ETH, Account, make_newer, spoil

Run = Callable[..., str]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path / "paper-simulated-default")
    yield account
    account.close()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEVIBOT_SUPERVISOR__DATA_DIR", str(tmp_path))
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str, code: int = OK) -> str:
        assert run_command(list(arguments)) == code
        return capsys.readouterr().out

    return run


def trade(account: Account) -> None:
    """One round trip that its target ends, and one that is open."""
    account.price(100)
    account.order(entry("1", stop_loss=D(95), take_profit=D(110)))
    account.price(112, later_ms=90_000)
    account.order(entry("2", stop_loss=D(100), take_profit=D(130)))
    account.settle()


def rows(output: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(output)))


def test_trades_are_exact_and_add_up_to_the_ledger(account: Account, run: Run) -> None:
    trade(account)
    found: list[dict[str, Any]] = json.loads(run("trades", "--json"))
    assert [fill["role"] for fill in found] == ["entry", "take_profit", "entry"]
    first = found[0]
    assert first["time"] == "2023-11-14T22:13:21.000Z"
    assert (first["quantity"], first["price"], first["fee"], first["fee_asset"]) == ("1", "100", "0.2", "USDT")
    assert (first["liquidity"], first["realized_pnl"], first["position"]) == ("taker", "-0.2", "1")
    position = account.ledger().position
    assert sum(Decimal(fill["realized_pnl"]) for fill in found) == position.realized_pnl
    assert Decimal(found[-1]["position"]) == position.quantity


def test_round_trips_tell_entry_exit_profit_and_reason(account: Account, run: Run) -> None:
    trade(account)
    (trip,) = json.loads(run("trades", "--round-trips", "--json"))
    assert (trip["side"], trip["entry_price"], trip["exit_price"], trip["exit_reason"]) == (
        "long",
        "100",
        "112",
        "target",
    )
    assert trip["duration_seconds"] == 90
    assert Decimal(trip["pnl"]) == D(12) - D("0.2") - D("0.224")
    assert Decimal(trip["pnl_ratio"]) == Decimal(trip["pnl"]) / 100


def test_positions_tell_what_rests_to_protect_them(account: Account, run: Run) -> None:
    trade(account)
    (held,) = json.loads(run("positions", "--json"))
    assert (held["symbol"], held["quantity"], held["entry_price"]) == (SYMBOL, "2", "112")
    assert (held["mark"], held["unrealized_pnl"]) == (None, None), "no daemon, no price"
    protection = {part["role"]: (part["trigger_price"], part["rests_on"]) for part in held["protection"]}
    assert protection == {"stop": ("100", "broker"), "take_profit": ("130", "broker")}
    table = run("positions")
    assert "stop 2 at 100 (broker)" in table
    assert "target 2 at 130 (broker)" in table


def test_orders_tell_where_they_stand_and_why(account: Account, run: Run) -> None:
    trade(account)
    account.order(entry("0.001"))  # below the minimum cost
    unsent = entry("1")
    account.ledger().journal(unsent)
    open_ones = {order["client_id"]: order for order in json.loads(run("orders", "--json"))}
    assert open_ones[unsent.client_id]["reason"] == "journaled; not sent yet"
    assert sorted(order["role"] for order in open_ones.values()) == ["entry", "stop", "take_profit"]
    every = json.loads(run("orders", "--all", "--json"))
    denied = next(order for order in every if order["state"] == "DENIED")
    assert "min_cost" in denied["reason"]
    cancelled = next(order for order in every if order["state"] == "CANCELLED")
    assert cancelled["role"] == "stop"
    assert cancelled["filled"] == "0"
    filled = next(order for order in every if order["role"] == "take_profit" and order["state"] == "FILLED")
    assert (filled["filled"], filled["average_price"]) == ("1", "112")


def test_a_symbol_that_was_removed_and_whose_engine_knows_nothing_is_shown(account: Account, run: Run) -> None:
    account.price(50, ETH)
    account.desk.exchange.submit(entry("1", symbol=ETH, stop_loss=D(45)))
    assert [fill["symbol"] for fill in json.loads(run("trades", "ETHUSDT", "--json"))] == [ETH]
    assert "ETH/USDT" in run("positions")


def test_csv_opens_in_a_spreadsheet_without_running_anything(account: Account, run: Run) -> None:
    trade(account)
    with account.desk.books.transaction(0):
        intent = entry("1", client_id="=cmd()")
        order = account.desk.books.submit(intent, intent)
        account.desk.books.deny(order, "@SUM(A1) says no")
    evil = next(row for row in rows(run("orders", "--all", "--csv")) if "cmd" in row["client_id"])
    assert evil["client_id"] == "'=cmd()"
    assert evil["reason"] == "'@SUM(A1) says no"
    losses = [row["realized_pnl"] for row in rows(run("trades", "--csv"))]
    assert losses[0] == "-0.2", "a negative number is no formula"


def test_a_heading_is_printed_for_no_rows_at_all(run: Run) -> None:
    assert run("trades", "--csv").startswith("time,symbol,side,role,")
    assert json.loads(run("trades", "--json")) == []
    assert "no trades" in run("trades")
    assert "no open position" in run("positions")
    assert "without --all" in run("orders")


def test_since_and_last_choose(account: Account, run: Run) -> None:
    trade(account)
    assert len(rows(run("trades", "--csv", "--since", "2023-11-14T22:14:00"))) == 2
    assert "the newest 1 of 3" in run("trades", "--last", "1")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("trades", "DOGE"), NO_SUCH_SYMBOL), (("orders", "--nope"), USAGE)]
)
def test_a_wrong_question_is_refused(run: Run, arguments: tuple[str, ...], code: int) -> None:
    run(*arguments, code=code)


@pytest.mark.parametrize("harm", [spoil, make_newer])
@pytest.mark.parametrize("which", ["broker.sqlite", "ledgers/ETH-USDT.sqlite"])
def test_a_file_that_cannot_be_read_is_named_and_the_rest_shown(
    account: Account, run: Run, capsys: pytest.CaptureFixture[str], which: str, harm: Callable[[Path], None]
) -> None:
    trade(account)
    account.price(50, ETH)
    account.order(entry("1", symbol=ETH))
    account.settle()
    account.close()
    harm(account.folder / which)
    assert run_command(["trades", "--json"]) == ERROR
    captured = capsys.readouterr()
    assert which in captured.err
    assert "damaged" in captured.err or "newer LeviBot" in captured.err
    assert len(json.loads(captured.out)) == 4, "either of the two tells what has happened"


def test_reading_disturbs_no_writer_and_sees_what_it_has_committed(account: Account, run: Run) -> None:
    trade(account)
    before = (account.folder / "broker.sqlite").stat().st_mtime_ns
    assert len(json.loads(run("trades", "--json"))) == 3
    assert (account.folder / "broker.sqlite").stat().st_mtime_ns == before
    account.order(leave("2"))
    assert len(json.loads(run("trades", "--json"))) == 4, "from the log, though nothing was settled or closed"


def test_what_is_left_below_the_least_size_is_called_dust(account: Account, run: Run) -> None:
    account.price(100)
    account.order(entry("1"))
    account.order(leave("0.999"))
    account.settle()
    (held,) = json.loads(run("positions", "--json"))
    assert (held["quantity"], held["dust"]) == ("0.001", True)
    assert "dust: too small" in " ".join(run("positions").split())
    table = run("trades", "--round-trips")
    assert "closed (UTC)" in table


def test_an_order_of_the_operator_has_one_name_everywhere(account: Account, run: Run) -> None:
    account.price(100)
    account.order(entry("1"))
    account.order(leave("1", role="emergency", kind="limit", limit_price=D(90)))
    account.settle()
    assert [fill["role"] for fill in json.loads(run("trades", "--json"))] == ["entry", "flatten"]
    assert [trip["exit_reason"] for trip in json.loads(run("trades", "--round-trips", "--json"))] == ["flatten"]


def test_an_export_has_all_rows_unless_the_newest_are_asked_for(account: Account, run: Run) -> None:
    trade(account)
    assert len(json.loads(run("trades", "--json"))) == 3
    (newest,) = json.loads(run("trades", "--json", "--last", "1"))
    assert newest["position"] == "2"
    assert len(rows(run("trades", "--csv", "--last", "2"))) == 2


def test_that_nothing_is_held_is_not_said_of_what_cannot_be_read(
    account: Account, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    trade(account)
    account.close()
    for name in ("broker.sqlite", "ledgers/BTC-USDT.sqlite"):
        spoil(account.folder / name)
    assert run_command(["positions"]) == ERROR
    captured = capsys.readouterr()
    assert captured.out == "nothing could be read of BTC-USDT, so there may be positions all the same\n"
    assert "levibotctl restore FILE" in captured.err


def test_performance_is_that_of_what_has_ended(account: Account, run: Run) -> None:
    trade(account)  # a win of a minute and a half, and one that is open
    account.price(100, later_ms=30_000)  # which its stop ends
    account.settle()
    told = json.loads(run("performance", "--json"))
    trips = [Decimal(trip["pnl"]) for trip in json.loads(run("trades", "--round-trips", "--json"))]
    assert (told["all"]["trades"], told["all"]["win_rate"]) == (2, "0.5")
    assert told["all"]["average_duration_seconds"] == 60
    assert Decimal(told["all"]["pnl"]) == sum(trips)
    assert abs(Decimal(told["all"]["profit_factor"]) - trips[0] / -trips[1]) < D("1e-7")
    assert [row["symbol"] for row in told["symbols"]] == [SYMBOL]
    assert [row["symbol"] for row in rows(run("performance", "--csv"))] == [SYMBOL, "all"]
    assert "50.0%" in run("performance")


def test_the_drawdown_is_not_that_of_what_is_taken_out() -> None:
    points = [(100, 100), (110, 100), (88, 100), (44, 56), (45, 56), (1045, 1056)]
    assert max_drawdown((D(equity), D(funds)) for equity, funds in points) == D("0.2")
