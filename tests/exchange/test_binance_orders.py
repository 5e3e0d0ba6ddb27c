"""What only Binance has: stops, take-profits, pairs of which one cancels the other."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served, start


@pytest.fixture(scope="module")
def calm() -> Iterator[Served]:
    """A market that trades only when a test says so."""
    with start("binance", quiet=(SYMBOL,), quotes_per_s=1.0) as exchange:
        yield Served(exchange)


def trade_at(served: Served, factor: str, amount: str = "1") -> None:
    def act(exchange: Any) -> None:
        state = exchange.market.symbols[SYMBOL]
        price = state.instrument.to_tick(state.instrument.first_price * Decimal(factor))
        exchange.market.trade(SYMBOL, price, Decimal(amount), True, exchange.clock.market_ms())

    served.exchange.run(act)


def around(served: Served, factor: str) -> str:
    rules = served.exchange.exchange.market.symbols[SYMBOL].instrument
    return str(rules.to_tick(rules.first_price * Decimal(factor)))


@pytest.mark.parametrize(
    ("kind", "stop", "trigger"),
    [("stopLossPrice", "0.95", "0.94"), ("takeProfitPrice", "1.05", "1.06")],
)
def test_a_triggered_market_order_sells(calm: Served, kind: str, stop: str, trigger: str) -> None:
    trade_at(calm, "1")

    async def scenario(client: Any) -> tuple[Any, Any]:
        params = {kind: around(calm, stop)}
        placed = await client.create_order(SYMBOL, "market", "sell", 0.01, None, params)
        waiting = await client.fetch_order(placed["id"], SYMBOL)
        trade_at(calm, trigger)
        return waiting, await client.fetch_order(placed["id"], SYMBOL)

    waiting, done = calm.play(scenario)
    assert (waiting["status"], waiting["filled"]) == ("open", 0)
    assert waiting["triggerPrice"] == float(around(calm, stop))
    assert (done["status"], done["filled"]) == ("closed", 0.01)


def test_a_stop_limit_becomes_a_limit_order(calm: Served) -> None:
    trade_at(calm, "1")

    async def scenario(client: Any) -> Any:
        params = {"stopLossPrice": around(calm, "0.95")}
        price = float(around(calm, "1.2"))
        placed = await client.create_order(SYMBOL, "limit", "sell", 0.01, price, params)
        trade_at(calm, "0.94")
        after = await client.fetch_order(placed["id"], SYMBOL)
        await client.cancel_order(placed["id"], SYMBOL)
        return after

    after = calm.play(scenario)
    assert after["status"] == "open"
    assert after["info"]["isWorking"] is True


def test_a_stop_that_would_trigger_at_once_is_refused(calm: Served) -> None:
    trade_at(calm, "1")

    async def scenario(client: Any) -> None:
        params = {"stopLossPrice": around(calm, "1.01")}
        await client.create_order(SYMBOL, "market", "sell", 0.01, None, params)

    with pytest.raises(ccxt.ExchangeError, match="trigger immediately"):
        calm.play(scenario)


@pytest.mark.parametrize(("trade", "filled"), [("1.08", "above"), ("0.94", "below")])
def test_one_leg_of_a_pair_cancels_the_other(calm: Served, trade: str, filled: str) -> None:
    trade_at(calm, "1")

    async def scenario(client: Any) -> dict[str, Any]:
        before = (await client.fetch_balance())["BTC"]
        pair = await client.privatePostOrderListOco(
            {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "quantity": "0.01",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": around(calm, "1.05"),
                "belowType": "STOP_LOSS",
                "belowStopPrice": around(calm, "0.95"),
            }
        )
        held = (await client.fetch_balance())["BTC"]
        assert held["used"] - before["used"] == pytest.approx(0.01)
        trade_at(calm, trade)
        after = (await client.fetch_balance())["BTC"]
        assert after["used"] == pytest.approx(before["used"])
        assert before["total"] - after["total"] == pytest.approx(0.01)
        orders = [await client.fetch_order(str(leg["orderId"]), SYMBOL) for leg in pair["orders"]]
        return {
            "above" if order["info"]["type"] == "LIMIT_MAKER" else "below": order["status"] for order in orders
        }

    other = "below" if filled == "above" else "above"
    assert calm.play(scenario) == {filled: "closed", other: "expired"}
