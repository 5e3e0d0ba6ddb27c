"""Orders of every type, placed, filled and cancelled through the real ccxt."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served
from tests.exchange.model import Trade

FAR_BELOW = Decimal("0.8")


def price_of(served: Served, factor: Decimal = FAR_BELOW) -> float:
    state = served.exchange.exchange.market.symbols[SYMBOL]
    best = state.book.best("sell")
    assert best is not None
    return float(state.instrument.to_tick(best[0] * factor))


async def look_up(client: Any, client_id: str) -> Any:
    return await client.fetch_order(None, SYMBOL, {"clientOrderId": client_id})


def test_a_limit_order_rests_reserves_and_is_cancelled(served: Served) -> None:
    price = price_of(served)

    async def scenario(client: Any) -> None:
        before = await client.fetch_balance()
        placed = await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"clientOrderId": "rest-1"})
        if served.dialect == "mexc":
            assert (placed["status"], placed["clientOrderId"]) == (None, None)
        assert (await look_up(client, "rest-1"))["status"] == "open"
        assert placed["id"] in [order["id"] for order in await client.fetch_open_orders(SYMBOL)]
        assert placed["id"] in [order["id"] for order in await client.fetch_orders(SYMBOL)]
        during = await client.fetch_balance()
        assert during["USDT"]["used"] > before["USDT"]["used"]
        assert during["USDT"]["total"] == pytest.approx(before["USDT"]["total"])
        await client.cancel_order(placed["id"], SYMBOL)
        assert (await look_up(client, "rest-1"))["status"] == "canceled"
        after = await client.fetch_balance()
        assert after["USDT"] == before["USDT"]

    served.play(scenario)


def test_a_market_order_walks_the_book_and_pays_the_taker_fee(served: Served) -> None:
    async def scenario(client: Any) -> None:
        before = await client.fetch_balance()
        await client.create_order(SYMBOL, "market", "buy", 0.2, None, {"clientOrderId": "market-1"})
        order = await look_up(client, "market-1")
        assert (order["status"], order["filled"]) == ("closed", 0.2)
        fills = await client.fetch_my_trades(SYMBOL, params={"orderId": order["id"]})
        assert sum(Decimal(str(fill["amount"])) for fill in fills) == Decimal("0.2")
        assert len({fill["price"] for fill in fills}) > 1
        assert all(fill["takerOrMaker"] == "taker" for fill in fills)
        fee = sum(fill["fee"]["cost"] for fill in fills)
        cost = sum(fill["cost"] for fill in fills)
        after = await client.fetch_balance()
        bought = after["BTC"]["total"] - before["BTC"]["total"]
        paid = before["USDT"]["total"] - after["USDT"]["total"]
        if served.dialect == "binance":
            assert fills[0]["fee"]["currency"] == "BTC"
            assert fee == pytest.approx(0.2 * 0.001)
            assert (bought, paid) == (pytest.approx(0.2 - fee), pytest.approx(cost))
        else:
            assert fills[0]["fee"]["currency"] == "USDT"
            assert fee == pytest.approx(cost * 0.0005)
            assert (bought, paid) == (pytest.approx(0.2), pytest.approx(cost + fee))

    served.play(scenario)
    truth = served.exchange.journal.trades[SYMBOL]
    assert any(
        trade.amount == fill.amount for trade in truth for fill in served.exchange.exchange.accounts[0].fills
    )


def test_a_market_order_by_cost_spends_no_more(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        params = {"cost": 500, "clientOrderId": "cost-1"}
        await client.create_order(SYMBOL, "market", "buy", 1, None, params)
        return await look_up(client, "cost-1")

    order = served.play(scenario)
    assert order["status"] == "closed"
    assert 490 < order["cost"] <= 500


def test_a_resting_order_fills_when_the_market_trades_through_it(served: Served) -> None:
    price = price_of(served, Decimal("0.9"))

    async def scenario(client: Any) -> None:
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"clientOrderId": "through-1"})
        below = Decimal(str(price)) - 1

        def trade(amount: str) -> Trade:
            return served.exchange.run(
                lambda exchange: exchange.market.trade(
                    SYMBOL, below, Decimal(amount), True, exchange.clock.market_ms()
                )
            )

        trade("0.004")
        partly = await look_up(client, "through-1")
        assert (partly["status"], partly["filled"]) == ("open", 0.004)
        trade("1")
        done = await look_up(client, "through-1")
        assert (done["status"], done["filled"]) == ("closed", 0.01)
        fills = await client.fetch_my_trades(SYMBOL, params={"orderId": done["id"]})
        assert [fill["takerOrMaker"] for fill in fills] == ["maker", "maker"]
        assert {fill["price"] for fill in fills} == {price}

    served.play(scenario)


def test_post_only_rests_or_is_refused(served: Served) -> None:
    async def scenario(client: Any) -> None:
        far = {"postOnly": True, "clientOrderId": "maker-1"}
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price_of(served), far)
        assert (await look_up(client, "maker-1"))["status"] == "open"
        await client.cancel_all_orders(SYMBOL)
        assert await client.fetch_open_orders(SYMBOL) == []
        crossing = price_of(served, Decimal("1.05"))
        with pytest.raises(ccxt.InvalidOrder):
            await client.create_order(SYMBOL, "limit", "buy", 0.01, crossing, {"postOnly": True})

    served.play(scenario)


def test_immediate_or_cancel_and_fill_or_kill(served: Served) -> None:
    async def scenario(client: Any) -> None:
        best = (await client.fetch_order_book(SYMBOL, 5))["asks"][0]
        far = price_of(served)
        for in_force in ("IOC", "FOK"):
            params = {"timeInForce": in_force, "clientOrderId": f"{in_force}-far"}
            await client.create_order(SYMBOL, "limit", "buy", 0.01, far, params)
            order = await look_up(client, f"{in_force}-far")
            assert order["filled"] == 0
            assert order["status"] in ("canceled", "expired")
        params = {"timeInForce": "IOC", "clientOrderId": "IOC-near"}
        await client.create_order(SYMBOL, "limit", "buy", 0.001, best[0] * 1.01 // 1, params)
        assert (await look_up(client, "IOC-near"))["filled"] == 0.001

    served.play(scenario)


def test_an_order_without_funds_is_refused(served: Served) -> None:
    async def scenario(client: Any) -> None:
        await client.create_order(SYMBOL, "limit", "sell", 9, price_of(served, Decimal("1.2")))

    with pytest.raises(ccxt.InsufficientFunds):
        served.play(scenario)


def test_an_order_below_the_minimum_cost_is_refused(served: Served) -> None:
    async def scenario(client: Any) -> None:
        await client.create_order(SYMBOL, "limit", "buy", 0.00002, price_of(served))

    expected = ccxt.BadRequest if served.dialect == "binance" else ccxt.InvalidOrder
    with pytest.raises(expected, match=r"NOTIONAL|minimum transaction"):
        served.play(scenario)


@pytest.mark.parametrize(("amount", "price"), [("0.0000123", "50000"), ("0.01", "50000.001")])
def test_too_precise_an_order_is_refused(served: Served, amount: str, price: str) -> None:
    async def scenario(client: Any) -> None:
        send = client.privatePostOrder if served.dialect == "binance" else client.spotPrivatePostOrder
        terms = {"type": "LIMIT", "timeInForce": "GTC", "quantity": amount, "price": price}
        await send({"symbol": "BTCUSDT", "side": "BUY", **terms})

    with pytest.raises(ccxt.InvalidOrder):
        served.play(scenario)


def test_a_client_id_is_unique_among_open_orders(served: Served) -> None:
    price = price_of(served)

    async def scenario(client: Any) -> None:
        params = {"clientOrderId": "twice-1"}
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price, params)
        with pytest.raises(ccxt.ExchangeError):
            await client.create_order(SYMBOL, "limit", "buy", 0.01, price, params)
        await client.cancel_all_orders(SYMBOL)
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price, params)
        assert len(await client.fetch_open_orders(SYMBOL)) == 1
        await client.cancel_all_orders(SYMBOL)

    served.play(scenario)


def test_unknown_orders_have_the_dialects_own_codes(served: Served) -> None:
    async def scenario(client: Any) -> None:
        missing = "999" if served.dialect == "binance" else "C02__999"
        expected = ccxt.OrderNotFound if served.dialect == "binance" else ccxt.ExchangeError
        with pytest.raises(expected, match="-2013"):
            await client.fetch_order(missing, SYMBOL)
        with pytest.raises(expected, match=r"-2011|Unknown order"):
            await client.cancel_order(missing, SYMBOL)

    served.play(scenario)


def test_a_halted_market_takes_no_orders(served: Served) -> None:
    served.exchange.arm("halted", symbol=SYMBOL)

    async def scenario(client: Any) -> None:
        await client.create_order(SYMBOL, "market", "buy", 0.01)

    with pytest.raises(ccxt.ExchangeError):
        served.play(scenario)


def test_a_market_sell_with_a_price_is_sent_by_cost(served: Served) -> None:
    """What ccxt does with it: the broker must never pass a price."""

    async def scenario(client: Any) -> None:
        await client.create_order(SYMBOL, "market", "sell", 0.01, price_of(served, Decimal(1)))

    served.play(scenario)
    sent = served.exchange.log.asked("POST /api/v3/order")[-1].params
    assert "quoteOrderQty" in sent
    assert "quantity" not in sent
