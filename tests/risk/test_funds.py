"""Deposits and withdrawals are no profit and no loss; other assets count at the price of their market."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.risk.market import BTC, DAY_MS, MORNING_MS, Desk, intent, position

BNB = "BNB/USDT"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """10 000 in cash."""
    desk = Desk(tmp_path / "risk.json")
    desk.know()
    desk.price(BTC, 100.0)
    assert worth(desk) == (10_000, 10_000)
    return desk


def worth(desk: Desk) -> tuple[float | None, float | None]:
    """Equity, and that of the day's start."""
    desk.risk.refresh(desk.now_ns)
    summary = desk.risk.summary(desk.now_ns)
    return summary["equity_now"], summary["equity_start_day"]


def test_a_deposit_moves_the_start_of_the_day_and_is_no_profit(desk: Desk) -> None:
    desk.events(desk.broker.moved("5000"))
    assert worth(desk) == (15_000, 15_000)
    assert desk.risk.summary(desk.now_ns)["realized_today_pct"] == 0
    desk.events(desk.broker.moved("-6000", kind="withdrawal"))
    assert worth(desk) == (9_000, 9_000)
    assert desk.risk.status.state == "ACTIVE"


def test_a_correction_is_a_loss(desk: Desk) -> None:
    desk.events(desk.broker.moved("-400", kind="correction"))
    assert worth(desk) == (9_600, 10_000)
    assert desk.risk.status.state == "HALTED"


def test_a_transfer_while_nobody_listened_is_found_in_the_snapshot(desk: Desk) -> None:
    desk.sleep(11)
    desk.start()
    desk.price(BTC, 100.0)
    desk.know("4000", funds={"USDT": "-6000"})
    assert worth(desk) == (4_000, 4_000)
    assert desk.risk.status.state == "ACTIVE"
    desk.start()  # before it was written: found once more, counted once
    desk.price(BTC, 100.0)
    desk.know("4000", funds={"USDT": "-6000"})
    assert worth(desk) == (4_000, 4_000)


def test_a_withdrawal_hides_no_loss(desk: Desk) -> None:
    desk.know("8000", position(BTC, "20", "100"))
    desk.price(BTC, 90.0)
    desk.events(desk.broker.moved("-5000"))
    assert worth(desk) == (4_800, 5_000)
    assert desk.risk.status.state == "HALTED"


def test_yesterdays_transfers_do_not_move_today(desk: Desk) -> None:
    desk.events(desk.broker.moved("5000"))
    desk.price(BTC, 100.0, (MORNING_MS // DAY_MS + 1) * DAY_MS)
    assert worth(desk) == (15_000, 15_000)
    desk.events(desk.broker.moved("-1000"))
    assert worth(desk) == (14_000, 14_000)


def test_an_asset_counts_once_its_price_is_known_and_that_is_no_profit(desk: Desk) -> None:
    desk.know("10000", balances={"BNB": "2"}, funds={"BNB": "2"})
    assert worth(desk) == (10_000, 10_000)
    desk.price(BNB, 600.0)
    assert worth(desk) == (11_200, 11_200)
    desk.price(BNB, 500.0)
    assert worth(desk) == (11_000, 11_200)
    desk.events(desk.broker.moved("1", "BNB"))
    assert worth(desk) == (11_500, 11_700)


def test_a_fee_in_another_asset_is_a_loss(desk: Desk) -> None:
    desk.know("10000", balances={"BNB": "2"})
    desk.price(BNB, 500.0)
    assert worth(desk) == (11_000, 11_000)
    order = intent("a", quantity="1")
    desk.events(desk.broker.submitted(order), desk.broker.filled(order, "100", fee="0.1", fee_asset="BNB"))
    assert desk.risk.portfolio.balances == {"BNB": Decimal("1.9")}
    assert worth(desk) == (10_950, 11_000)


def test_after_a_restart_an_asset_is_worth_what_it_was_until_a_price_comes(desk: Desk) -> None:
    desk.know("10000", balances={"BNB": "2"})
    desk.price(BNB, 500.0)
    desk.sleep(11)
    desk.start()
    desk.price(BTC, 100.0)
    desk.know("10000", balances={"BNB": "2"})
    assert worth(desk) == (11_000, 11_000)
    desk.price(BNB, 400.0)
    assert worth(desk) == (10_800, 11_000)
