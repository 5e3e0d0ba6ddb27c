"""The hand behind the account: money, orders and trades that are none of the client's, and the truth of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.exchange.conftest import SYMBOL, start
from tests.exchange.running import RunningExchange


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    with start("binance", history=5) as running:
        yield running


def ask(exchange: RunningExchange, path: str, body: Any = None) -> Any:
    url = f"http://127.0.0.1:{exchange.exchange.control_port}{path}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=60) as answer:
        return json.loads(answer.read())


def test_money_comes_and_goes(exchange: RunningExchange) -> None:
    before = Decimal(ask(exchange, "/account")["balances"]["USDT"]["free"])
    ask(exchange, "/transfers", {"asset": "USDT", "amount": "12.5"})
    ask(exchange, "/transfers", {"asset": "USDT", "amount": "-2.5", "fee": "0.5"})
    ask(exchange, "/transfers", {"asset": "USDT", "amount": "100", "done": False})
    assert Decimal(ask(exchange, "/account")["balances"]["USDT"]["free"]) == before + Decimal("9.5")


def test_an_order_by_another_hand_rests_until_the_market_trades_through_it(exchange: RunningExchange) -> None:
    book = exchange.exchange.market.symbols[SYMBOL]
    price = book.instrument.to_tick(book.last * Decimal("0.9"))
    order = {"symbol": SYMBOL, "side": "buy", "amount": "0.02", "price": str(price), "client_id": "foreign"}
    assert ask(exchange, "/orders", order)["status"] == "new"
    ask(exchange, "/trades", {"symbol": SYMBOL, "price": str(price - 1), "amount": "0.005"})
    account = ask(exchange, "/account")
    told = next(row for row in account["orders"] if row["client_id"] == "foreign")
    assert (told["status"], Decimal(told["filled"])) == ("partially_filled", Decimal("0.005"))
    fills = [row for row in account["fills"] if row["client_id"] == "foreign"]
    assert [(Decimal(row["amount"]), Decimal(row["price"])) for row in fills] == [(Decimal("0.005"), price)]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(exchange, "/orders", {**order, "amount": "999", "client_id": "too much"})
