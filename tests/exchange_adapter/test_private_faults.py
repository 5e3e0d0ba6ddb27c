"""What goes wrong between an order and its answer: either it is sure, or nobody knows; nothing is sent again."""

from __future__ import annotations

import logging
import re
import traceback
from decimal import Decimal
from typing import Any

import pytest

from levibot.errors import (
    BackOffError,
    ExchangeRefusedError,
    LeviBotError,
    OrderGoneError,
    RetryError,
)
from levibot.exchange.private import PrivateTrading
from levibot.exchange.trading import Placement
from tests.exchange.settings import KEY, SECRET
from tests.exchange_adapter.trading import AMOUNT, FAR_BELOW, SYMBOL, Account

CREATE, CANCEL, LOOK = "POST /api/v3/order", "DELETE /api/v3/order", "GET /api/v3/order"
# Fault → whether the order is there in the end.
LOST: dict[str, tuple[dict[str, Any], bool]] = {
    "lost answer": ({"kind": "lost_answer"}, True),
    "page of HTML with 200": ({"kind": "html"}, True),
    "truncated answer": ({"kind": "truncated"}, True),
    "bad JSON": ({"kind": "bad_json"}, True),
    "answer of nulls": ({"kind": "null_rows"}, True),
    "came twice": ({"kind": "repeated"}, True),
    "reset": ({"kind": "reset"}, False),
    "500": ({"kind": "status", "status": 500}, False),
    "502": ({"kind": "status", "status": 502}, False),
    "503": ({"kind": "status", "status": 503}, False),
    "504": ({"kind": "status", "status": 504}, False),
}


@pytest.mark.parametrize("what", LOST)
def test_of_an_order_without_a_good_answer_nobody_knows_until_it_is_asked_for(account: Account, what: str) -> None:
    fault, is_there = LOST[what]
    placement = account.buy(limit_price=account.price(FAR_BELOW))
    before = account.placed

    async def scenario(trading: PrivateTrading) -> None:
        account.exchange.arm(on=CREATE, times=1, **fault)
        with pytest.raises(RetryError):
            await trading.place(placement)
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert (order is not None) is is_there
        if order is not None:
            await trading.cancel(SYMBOL, placement.client_id, order.exchange_id)

    account.play(scenario)
    assert account.placed == before + 1, "sent once"
    assert len(account.orders(placement.client_id)) == is_there


@pytest.mark.parametrize("what", ["lost answer", "page of HTML with 200", "truncated answer", "bad JSON", "503"])
def test_of_a_cancellation_without_a_good_answer_nobody_knows_until_the_order_is_asked_for(
    account: Account, what: str
) -> None:
    fault = LOST[what][0]
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        account.exchange.arm(on=CANCEL, times=1, **fault)
        before = account.asked(CANCEL)
        with pytest.raises(RetryError):
            await trading.cancel(SYMBOL, placement.client_id, "")
        assert account.asked(CANCEL) == before + 1, "sent once"
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert order is not None
        if order.status == "open":
            await trading.cancel(SYMBOL, placement.client_id, "")
        else:
            assert order.status == "cancelled"
            with pytest.raises(OrderGoneError):
                await trading.cancel(SYMBOL, placement.client_id, "")

    account.play(scenario)


def test_a_cancellation_that_comes_twice_is_gone_and_the_order_says_cancelled(account: Account) -> None:
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        account.exchange.arm("repeated", CANCEL, times=1)
        with pytest.raises(OrderGoneError):
            await trading.cancel(SYMBOL, placement.client_id, "")
        order = await trading.order(SYMBOL, placement.client_id, "")
        assert order is not None
        assert order.status == "cancelled"

    account.play(scenario)


def test_an_order_that_is_not_known_yet_is_none_once_and_then_there(account: Account) -> None:
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        account.exchange.arm("no_such_order", LOOK, times=1)
        assert await trading.order(SYMBOL, placement.client_id, "") is None
        assert await trading.order(SYMBOL, placement.client_id, "") is not None
        await trading.cancel(SYMBOL, placement.client_id, "")

    account.play(scenario)


@pytest.mark.parametrize("kind", ["html", "truncated", "bad_json", "null_rows", "lost_answer"])
def test_what_is_read_is_good_or_an_error(account: Account, kind: Any) -> None:
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        since_ms = trading.exchange_ms() - 60_000
        for on, ask in (
            (LOOK, lambda: trading.order(SYMBOL, placement.client_id, "")),
            ("GET /api/v3/openOrders", lambda: trading.open_orders(SYMBOL)),
            ("GET /api/v3/account", trading.balances),
            ("GET /api/v3/ticker/bookTicker", lambda: trading.best_prices(SYMBOL)),
        ):
            account.exchange.arm(kind, on, times=1)
            with pytest.raises(RetryError):
                await ask()
            await ask()
        await trading.place(account.buy())
        account.exchange.arm(kind, "GET /api/v3/myTrades", times=1)
        with pytest.raises(RetryError):
            await trading.trades(SYMBOL, since_ms)
        assert await trading.trades(SYMBOL, since_ms)
        await trading.cancel(SYMBOL, placement.client_id, "")

    account.play(scenario)


def refusals(account: Account) -> dict[str, Placement]:
    low = account.price(FAR_BELOW)
    far = account.price(Decimal("1.2"))
    identity = account.new_id
    return {
        "funds": Placement(identity(), SYMBOL, "sell", "limit", Decimal(9), far),
        "minimum": Placement(identity(), SYMBOL, "buy", "limit", Decimal("0.00002"), low),
        "maker that would take": Placement(identity(), SYMBOL, "buy", "limit", AMOUNT, far, post_only=True),
        "no such market": Placement(identity(), "NOPE/USDT", "buy", "market", AMOUNT),
        "between two steps": Placement(identity(), SYMBOL, "buy", "limit", Decimal("0.0100001"), low),
        "between two ticks": Placement(identity(), SYMBOL, "buy", "limit", AMOUNT, low + Decimal("0.0000001")),
        "client id": Placement("<b>html</b>", SYMBOL, "buy", "limit", AMOUNT, low),
        "limit without price": Placement(identity(), SYMBOL, "buy", "limit", AMOUNT),
        "not emulated here": Placement(identity(), SYMBOL, "sell", "trailing_stop", AMOUNT, trigger_price=low),
    }


def test_what_is_definitely_refused_is_told_so_and_is_not_there(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        for why, placement in refusals(account).items():
            with pytest.raises(ExchangeRefusedError):
                await trading.place(placement)
            assert not account.orders(placement.client_id), why

    account.play(scenario)


def test_an_order_for_a_halted_market_is_refused(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        account.exchange.arm("halted", symbol=SYMBOL)
        with pytest.raises(ExchangeRefusedError):
            await trading.place(account.buy())

    account.play(scenario)


def test_an_exchange_that_asks_for_patience_took_no_order(account: Account) -> None:
    placement = account.buy()

    async def scenario(trading: PrivateTrading) -> None:
        account.exchange.arm("status", CREATE, times=1, status=429, retry_after=1)
        with pytest.raises(BackOffError):
            await trading.place(placement)
        assert not account.orders(placement.client_id)
        with pytest.raises(BackOffError):
            await trading.order(SYMBOL, placement.client_id, "")

    account.play(scenario)


def test_a_key_that_is_revoked_meanwhile_refuses_orders_and_nothing_else(account: Account) -> None:
    owner = account.exchange.exchange.accounts[0]
    placement = account.buy()

    async def scenario(trading: PrivateTrading) -> None:
        await trading.balances()
        owner.key = "revoked"
        try:
            with pytest.raises(ExchangeRefusedError):
                await trading.place(placement)
        finally:
            owner.key = KEY
        assert not account.orders(placement.client_id)
        assert await trading.best_prices(SYMBOL), "no cool-down, which the feed would obey too"

    account.play(scenario)


def test_a_duplicate_refusal_is_no_word_that_the_order_is_not_there(account: Account) -> None:
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        with pytest.raises(RetryError, match="may be there"):
            await trading.place(placement)
        assert len(account.orders(placement.client_id)) == 1
        await trading.cancel(SYMBOL, placement.client_id, "")

    account.play(scenario)


def test_no_error_and_no_line_tells_a_secret(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    """Not even with a traceback, and while everything is logged."""
    errors: list[LeviBotError] = []
    placement = account.buy(limit_price=account.price(FAR_BELOW))

    async def scenario(trading: PrivateTrading) -> None:
        await trading.place(placement)
        for kind in ("lost_answer", "truncated", "html", "bad_json", "status", "reset"):
            for on, ask in (
                (CREATE, lambda: trading.place(account.buy(limit_price=placement.limit_price))),
                (CANCEL, lambda: trading.cancel(SYMBOL, placement.client_id, "")),
                (LOOK, lambda: trading.order(SYMBOL, placement.client_id, "")),
                ("GET /api/v3/myTrades", lambda: trading.trades(SYMBOL, trading.exchange_ms() - 1000)),
            ):
                account.exchange.arm(kind, on, times=1)  # type: ignore[arg-type]
                try:
                    await ask()
                except LeviBotError as error:
                    errors.append(error)
        for order in await trading.open_orders(SYMBOL):
            await trading.cancel(SYMBOL, order.client_id, order.exchange_id)

    caplog.set_level(logging.DEBUG)
    account.play(scenario)
    assert len(errors) >= 20
    shown = [*("".join(traceback.format_exception(error)) for error in errors), *map(str, errors), caplog.text]
    for text in shown:
        assert KEY not in text
        assert SECRET not in text
        assert "signature" not in text.lower()
        assert not re.search("[0-9a-f]{64}", text), "a signature"
