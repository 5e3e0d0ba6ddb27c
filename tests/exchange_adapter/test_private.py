"""Orders, fills and money of an account, through the real ccxt, in both dialects."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from levibot.errors import ConfigError, ExchangeRefusedError, OrderGoneError
from levibot.exchange.private import PrivateTrading
from levibot.exchange.trading import Placement
from tests.exchange_adapter.conftest import SYMBOL
from tests.exchange_adapter.trading import AMOUNT, FAR_BELOW, LOOPBACK, Account


def test_a_market_order_is_filled_and_its_fills_add_up_exactly(account: Account) -> None:
    placement = account.buy()

    async def scenario(trading: PrivateTrading) -> None:
        since_ms = trading.exchange_ms() - 1000
        before = await trading.balances()
        answer = await trading.place(placement)
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert order is not None
        if account.exchange.dialect == "mexc":
            assert answer is None
        else:
            assert answer == order
        assert (order.status, order.filled, order.side, order.limit_price) == ("filled", AMOUNT, "buy", None)
        assert await trading.order(SYMBOL, placement.client_id, order.exchange_id) == order
        fills = await trading.trades_of(SYMBOL, order.exchange_id, since_ms)
        assert fills == [
            fill for fill in await trading.trades(SYMBOL, since_ms) if fill.exchange_id == order.exchange_id
        ]
        assert sum(fill.quantity for fill in fills) == AMOUNT
        after = await trading.balances()
        fees = {asset: sum(fill.fee for fill in fills if fill.fee_asset == asset) for asset in ("BTC", "USDT")}
        assert after["BTC"].total - before["BTC"].total == AMOUNT - fees["BTC"]
        spent = sum(fill.quantity * fill.price for fill in fills)
        assert before["USDT"].total - after["USDT"].total == spent + fees["USDT"]
        assert not any(fill.is_maker for fill in fills)

    account.play(scenario)


def test_a_resting_order_is_listed_and_cancelled_once(account: Account) -> None:
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        mine = [order for order in await trading.open_orders(SYMBOL) if order.client_id == placement.client_id]
        assert [(order.status, order.limit_price) for order in mine] == [("open", placement.limit_price)]
        locked = (await trading.balances())["USDT"]
        assert locked.total - locked.free >= AMOUNT * (placement.limit_price or 0)
        await trading.cancel(SYMBOL, placement.client_id, mine[0].exchange_id)
        with pytest.raises(OrderGoneError):
            await trading.cancel(SYMBOL, placement.client_id, "")
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert order is not None
        assert (order.status, order.filled) == ("cancelled", 0)

    account.play(scenario)


def test_an_order_that_nobody_sent_is_none(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        assert await trading.order(SYMBOL, account.new_id(), "") is None
        with pytest.raises(OrderGoneError):
            await trading.cancel(SYMBOL, account.new_id(), "")

    account.play(scenario)


def test_a_stop_rests_on_the_exchange_where_it_keeps_them(account: Account) -> None:
    placement = Placement(
        account.new_id(),
        SYMBOL,
        "sell",
        "stop",
        AMOUNT,
        trigger_price=account.price(FAR_BELOW),
        is_protective=True,
    )

    async def scenario(trading: PrivateTrading) -> None:
        assert trading.keeps_stops(SYMBOL) is (account.exchange.dialect == "binance")
        if not trading.keeps_stops(SYMBOL):
            with pytest.raises(ExchangeRefusedError, match="keeps no stop orders"):
                await trading.place(placement)
            return
        order = await trading.place(placement)
        assert order is not None
        assert (order.status, order.trigger_price, order.limit_price) == ("open", placement.trigger_price, None)
        await trading.cancel(SYMBOL, placement.client_id, order.exchange_id)

    account.play(scenario)


def test_decimals_are_rounded_as_before(account: Account) -> None:
    """For whoever reckons with them in the same process: ccxt changes that."""

    async def scenario(trading: PrivateTrading) -> None:
        before = repr(decimal.getcontext())
        await trading.place(account.buy())
        await trading.balances()
        assert repr(decimal.getcontext()) == before

    account.play(scenario)


def test_best_prices_are_exact(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        bid, ask = await trading.best_prices(SYMBOL)
        tick = account.exchange.exchange.market.symbols[SYMBOL].instrument.tick
        assert 0 < bid < ask
        assert bid % tick == ask % tick == 0

    account.play(scenario)


def test_where_no_exchange_is_known_to_find_our_ids_an_order_is_sought_in_its_lists(account: Account) -> None:
    """As for exchanges of which nothing is known but what ccxt says."""
    resting = account.buy(limit_price=account.price(FAR_BELOW))
    filled = account.buy()

    async def scenario(trading: PrivateTrading) -> None:
        trading._quirks = replace(trading._quirks, finds_by_client_id=False)
        await trading.place(resting)
        await trading.place(filled)
        order = await trading.order(SYMBOL, resting.client_id, "")
        assert order is not None
        assert order.status == "open"
        await trading.cancel(SYMBOL, resting.client_id, "")
        for client_id, status in ((resting.client_id, "cancelled"), (filled.client_id, "filled")):
            order = await trading.order(SYMBOL, client_id, "")
            assert order is not None
            assert order.status == status
        unknown = account.new_id()
        assert await trading.order(SYMBOL, unknown, "") is None
        with pytest.raises(OrderGoneError):
            await trading.cancel(SYMBOL, unknown, "")

    account.play(scenario)


def test_an_exchange_that_cannot_do_what_trading_needs_is_refused_at_the_start(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        session = trading._session
        original = session.sibling

        def lacking(*listeners: Callable[..., None]) -> Any:
            made = original(*listeners)
            made.has = {**made.has, "fetchMyTrades": False, "cancelOrder": None}
            return made

        session.sibling = lacking  # type: ignore[method-assign]
        with pytest.raises(ConfigError, match=r"ccxt cannot cancel orders, list own trades there; choose another"):
            await PrivateTrading(session, LOOPBACK).open()

    account.play(scenario)
