"""Keys, signatures, permissions, request weights, and the user streams."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served, start
from tests.exchange.settings import account


async def balance(client: Any) -> Any:
    return await client.fetch_balance()


def test_a_wrong_secret_is_an_authentication_error(served: Served) -> None:
    with pytest.raises(ccxt.AuthenticationError):
        served.play(balance, secret="wrong")


def test_an_unknown_key_has_the_dialects_own_code(served: Served) -> None:
    expected = ccxt.AuthenticationError if served.dialect == "binance" else ccxt.BadRequest
    with pytest.raises(expected, match=r"-2015|10072|Invalid API-key"):
        served.play(balance, key="nobody")


def test_a_key_without_trading_may_not_trade() -> None:
    owner = account("binance")
    owner.can_trade = False
    with start("binance", accounts=[owner]) as exchange:

        async def scenario(client: Any) -> None:
            await client.create_order(SYMBOL, "market", "buy", 0.01)

        with pytest.raises(ccxt.AuthenticationError):
            Served(exchange).play(scenario)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_key_says_whether_it_may_withdraw(allowed: bool) -> None:
    """MEXC tells only of the account."""
    owner = account("binance")
    owner.can_withdraw = allowed
    with start("binance", accounts=[owner], history=5) as exchange:

        async def scenario(client: Any) -> Any:
            return (await client.sapiGetAccountApiRestrictions())["enableWithdrawals"]

        assert Served(exchange).play(scenario) is allowed


def test_weights_are_counted_and_exceeding_them_is_answered_429_then_418() -> None:
    with start("binance", weight_limit=31, history=5) as exchange:

        async def scenario(client: Any) -> tuple[str, str]:
            await client.fetch_ohlcv(SYMBOL)
            await client.fetch_order_book(SYMBOL)
            await client.fetch_trades(SYMBOL, limit=1)
            used = client.last_response_headers["X-MBX-USED-WEIGHT-1M"]
            for _ in range(20):
                with pytest.raises(ccxt.DDoSProtection):
                    await client.fetch_trades(SYMBOL)
            return used, client.last_response_headers["Retry-After"]

        used, retry_after = Served(exchange).play(scenario)
        assert used == "31"
        assert int(retry_after) > 0
        statuses = [request.status for request in exchange.log.requests]
        assert statuses[-1] == 418
        assert 429 in statuses


async def _trade_and_listen(client: Any) -> tuple[list[Any], list[Any], Any]:
    orders = asyncio.create_task(client.watch_orders(SYMBOL))
    fills = asyncio.create_task(client.watch_my_trades(SYMBOL))
    balances = asyncio.create_task(client.watch_balance())
    await asyncio.sleep(1.0)
    await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "told-1"})
    await asyncio.gather(orders, fills, balances)
    await asyncio.sleep(0.3)
    return list(client.orders), list(client.myTrades), client.balance["spot"]


def test_the_user_stream_tells_orders_fills_and_balances(served: Served) -> None:
    orders, fills, balances = served.play(_trade_and_listen)
    assert [(order["clientOrderId"], order["status"]) for order in orders][-1] == ("told-1", "closed")
    assert orders[-1]["filled"] == 0.01
    assert sum(fill["amount"] for fill in fills) == pytest.approx(0.01)
    assert fills[0]["fee"]["cost"] > 0
    owner = served.exchange.exchange.accounts[0]
    assert balances["BTC"]["free"] == float(owner.balances["BTC"].free)


def test_a_silent_user_stream_leaves_rest_as_the_truth(served: Served) -> None:
    private = "STREAM user@*" if served.dialect == "binance" else "STREAM *private*"
    fault = served.exchange.arm("silent", private)

    async def scenario(client: Any) -> Any:
        watcher = asyncio.create_task(client.watch_orders(SYMBOL))
        await asyncio.sleep(1.0)
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "untold-1"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watcher, 1)
        return await client.fetch_order(None, SYMBOL, {"clientOrderId": "untold-1"})

    assert served.play(scenario)["status"] == "closed"
    assert fault.struck >= 1
