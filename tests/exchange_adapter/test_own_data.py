"""Answers about an account: what is not exactly what was asked for counts for nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from levibot.errors import MalformedAnswerError
from levibot.exchange.own_data import (
    read_balances,
    read_cancelled,
    read_order,
    read_own_trades,
    read_prices,
    read_transfers,
)
from levibot.exchange.trading import Balance, ExchangeOrder, OwnTrade, Transfer

SYMBOL = "BTC/USDT"
NOW_MS = 1_800_000_000_000
HTML = "<html>Just a moment</html>"
ORDER: dict[str, Any] = {
    "id": "17",
    "clientOrderId": "mine-1",
    "symbol": SYMBOL,
    "side": "buy",
    "type": "limit",
    "status": "open",
    "amount": "0.30000000000000000001",
    "filled": "0.1",
    "price": "60000.10",
    "triggerPrice": None,
    "timestamp": NOW_MS,
}
TRADE: dict[str, Any] = {
    "id": "5",
    "order": "17",
    "symbol": SYMBOL,
    "side": "sell",
    "amount": "0.1",
    "price": "60000",
    "fee": {"cost": "0.00000000000000000007", "currency": "BNB"},
    "takerOrMaker": "maker",
    "timestamp": NOW_MS,
}
BALANCES: dict[str, Any] = {
    "info": {"balances": []},
    "BTC": {"total": "0.1", "free": "0.05", "used": "0.05"},
    "ETH": {"total": "0", "free": "0", "used": "0"},
    "total": {"BTC": "0.1", "ETH": "0"},
}


def test_an_order_is_read_to_the_last_digit() -> None:
    assert read_order(ORDER, SYMBOL, "mine-1", "17") == ExchangeOrder(
        "mine-1",
        "17",
        SYMBOL,
        "buy",
        "open",
        Decimal("0.30000000000000000001"),
        Decimal("0.1"),
        Decimal("60000.10"),
        None,
        NOW_MS,
    )


@pytest.mark.parametrize(
    ("told", "filled", "status"),
    [
        ("closed", "0.3", "filled"),
        ("closed", "0.1", "cancelled"),
        ("canceled", "0.1", "cancelled"),
        ("expired", "0", "cancelled"),
        ("rejected", "0", "rejected"),
        ("open", "0.3", "open"),
    ],
)
def test_an_end_is_a_filling_only_of_all(told: str, filled: str, status: str) -> None:
    assert read_order({**ORDER, "amount": "0.3", "status": told, "filled": filled}, SYMBOL).status == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": HTML},
        {"id": None},
        {"id": 17},
        {"clientOrderId": HTML},
        {"clientOrderId": "another"},
        {"clientOrderId": None},
        {"symbol": "ETH/USDT"},
        {"symbol": None},
        {"side": None},
        {"status": None},
        {"status": "new"},
        {"amount": 0.3},
        {"amount": None},
        {"amount": "0"},
        {"amount": "NaN"},
        {"amount": "many"},
        {"filled": None},
        {"filled": "0.4"},
        {"filled": "-0.1"},
        {"price": 60000.1},
        {"price": "Infinity"},
        {"timestamp": None},
        {"timestamp": 1_800_000_000},
    ],
    ids=str,
)
def test_an_order_that_is_not_quite_one_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        read_order({**ORDER, **wrong}, SYMBOL, "mine-1")


@pytest.mark.parametrize("found", [None, HTML, [], 5])
def test_what_is_no_order_at_all_is_none(found: Any) -> None:
    for read in (
        lambda: read_order(found, SYMBOL),
        lambda: read_cancelled(found, SYMBOL, ""),
        lambda: read_balances(found),
        lambda: read_prices(found, SYMBOL),
    ):
        with pytest.raises(MalformedAnswerError):
            read()


def test_another_order_than_the_one_asked_for_is_refused() -> None:
    with pytest.raises(MalformedAnswerError, match="expected 18"):
        read_order(ORDER, SYMBOL, "mine-1", "18")
    with pytest.raises(MalformedAnswerError, match="expected 18"):
        read_cancelled(ORDER, SYMBOL, "18")


def test_somebody_elses_order_without_an_id_of_its_own_is_read() -> None:
    assert read_order({**ORDER, "clientOrderId": None}, SYMBOL).client_id == ""


def test_an_own_trade_is_read_once_and_exact() -> None:
    earlier = {**TRADE, "id": "4", "timestamp": NOW_MS - 1, "fee": None, "takerOrMaker": None}
    found = read_own_trades([TRADE, earlier, TRADE], SYMBOL, "17")
    assert [row.trade_id for row in found] == ["4", "5"]
    assert found[1] == OwnTrade(
        "5", "17", SYMBOL, "sell", Decimal("0.1"), Decimal(60000), Decimal("7E-20"), "BNB", True, NOW_MS
    )
    assert (found[0].fee, found[0].fee_asset, found[0].is_maker) == (0, "", False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"order": "18"},
        {"symbol": "ETH/USDT"},
        {"side": "long"},
        {"amount": 0.1},
        {"price": "0"},
        {"fee": {"cost": "1", "currency": None}},
        {"fee": {"cost": 0.1, "currency": "BNB"}},
        {"fees": [{"cost": "1", "currency": "BNB"}, {"cost": "1", "currency": "BTC"}]},
        {"takerOrMaker": "both"},
        {"timestamp": None},
    ],
    ids=str,
)
def test_an_own_trade_that_is_not_quite_one_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        read_own_trades([{**TRADE, **wrong}], SYMBOL, "17")


def test_two_trades_with_one_id_must_be_one() -> None:
    with pytest.raises(MalformedAnswerError, match="the same as"):
        read_own_trades([TRADE, {**TRADE, "price": "60001"}], SYMBOL)


def test_balances_are_those_with_something_in_them() -> None:
    assert read_balances(BALANCES) == {"BTC": Balance(Decimal("0.1"), Decimal("0.05"))}
    assert read_balances({"info": {}, "total": {}}) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"info": {"balances": None}},
        {"total": None},
        {"BTC": None},
        {"BTC": {"total": None, "free": "1"}},
        {"BTC": {"total": "1", "free": "2"}},
        {"BTC": {"total": "-1", "free": "-1"}},
        {"BTC": {"total": 0.1, "free": 0.1}},
    ],
    ids=str,
)
def test_balances_that_are_not_quite_some_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        read_balances({**BALANCES, **wrong})


def test_a_transfer_counts_when_money_has_moved() -> None:
    row = {"id": "9", "txid": "0x9", "currency": "BTC", "amount": "0.5", "status": "ok", "timestamp": NOW_MS}
    assert read_transfers([row], "deposit") == [Transfer("deposit 9", "BTC", Decimal("0.5"), NOW_MS)]
    assert read_transfers([{**row, "status": "pending"}], "deposit") == []
    gone = {**row, "fee": {"cost": "0.01", "currency": "BTC"}, "updated": NOW_MS + 1}
    expected = [Transfer("withdrawal 9", "BTC", Decimal("-0.51"), NOW_MS + 1)]
    assert read_transfers([gone], "withdrawal") == expected
    assert read_transfers([{**gone, "status": "pending"}], "withdrawal") == expected
    assert read_transfers([{**gone, "status": "failed"}, {**gone, "status": "canceled"}], "withdrawal") == []
    for wrong in ({"currency": None}, {"amount": 0.5}, {"id": None, "txid": None}, {"timestamp": None}):
        with pytest.raises(MalformedAnswerError):
            read_transfers([{**row, **wrong}], "deposit")


@pytest.mark.parametrize(
    "row", [{"bid": "2", "ask": "1"}, {"bid": "1", "ask": None}, {"bid": 1.0, "ask": 2.0}, None]
)
def test_prices_that_cross_or_are_missing_are_refused(row: Any) -> None:
    assert read_prices({SYMBOL: {"bid": "1.10", "ask": "1.2"}}, SYMBOL) == (Decimal("1.10"), Decimal("1.2"))
    with pytest.raises(MalformedAnswerError):
        read_prices({SYMBOL: row}, SYMBOL)
