"""What the real ccxt makes of each thing that goes wrong with a request."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served

KLINES = "GET /api/v3/klines"
ORDER = "POST /api/v3/order"
SHORT_MS = 400


async def bars(client: Any) -> Any:
    return await client.fetch_ohlcv(SYMBOL, "1m", limit=3)


async def far_order(client: Any, client_id: str) -> Any:
    """A limit order too low to fill."""
    price = (await client.fetch_ticker(SYMBOL))["last"] * 0.8
    return await client.create_order(
        SYMBOL, "limit", "buy", 0.01, client.price_to_precision(SYMBOL, price), {"clientOrderId": client_id}
    )


@pytest.mark.parametrize("status", [500, 502, 503, 520])
def test_a_server_error_is_not_available(served: Served, status: int) -> None:
    fault = served.exchange.arm("status", KLINES, status=status, times=1)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        served.play(bars, maxRetriesOnFailure=0)
    assert fault.struck == 1


def test_a_gateway_timeout_and_a_hang_are_timeouts(served: Served) -> None:
    served.exchange.arm("status", KLINES, status=504, times=1)
    with pytest.raises(ccxt.RequestTimeout):
        served.play(bars)
    served.exchange.arm("hang", KLINES, times=1)
    with pytest.raises(ccxt.RequestTimeout):
        served.play(bars, timeout=SHORT_MS)


def test_a_delay_within_the_timeout_only_delays(served: Served) -> None:
    served.exchange.arm("delay", KLINES, delay_ms=SHORT_MS, times=1)
    assert len(served.play(bars)) == 3
    served.exchange.arm("delay", KLINES, delay_ms=2 * SHORT_MS, times=1)
    with pytest.raises(ccxt.RequestTimeout):
        served.play(bars, timeout=SHORT_MS)


def test_refused_and_reset_connections_are_not_available(served: Served) -> None:
    served.exchange.arm("reset", KLINES)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        served.play(bars)
    served.exchange.clear()
    served.exchange.arm("refuse")
    with pytest.raises(ccxt.ExchangeNotAvailable):
        served.play(bars)
    served.exchange.clear()
    assert len(served.play(bars)) == 3


@pytest.mark.parametrize("status", [418, 429])
def test_too_many_requests_say_when_to_come_back(served: Served, status: int) -> None:
    served.exchange.arm("status", KLINES, status=status, retry_after=7, times=1)
    headers: dict[str, str] = {}

    async def scenario(client: Any) -> None:
        try:
            await bars(client)
        finally:
            headers.update(client.last_response_headers)

    expected = ccxt.DDoSProtection if served.dialect == "binance" else ccxt.RateLimitExceeded
    with pytest.raises(expected):
        served.play(scenario)
    assert headers["Retry-After"] == "7"


def test_a_truncated_body_is_no_network_error(served: Served) -> None:
    served.exchange.arm("truncated", KLINES, times=1)
    with pytest.raises(ccxt.ExchangeError) as raised:
        served.play(bars)
    assert not isinstance(raised.value, ccxt.NetworkError)


@pytest.mark.parametrize("kind", ["html", "bad_json", "null_rows"])
def test_rubbish_with_status_200_raises_nothing(served: Served, kind: str) -> None:
    served.exchange.arm(kind, KLINES, times=1)
    rows = served.play(bars)
    assert rows
    assert all(row[1] is None and row[5] is None for row in rows)


def test_an_order_answered_with_html_is_an_order_of_html(served: Served) -> None:
    served.exchange.arm("html", ORDER, times=1)

    async def scenario(client: Any) -> Any:
        return await far_order(client, "html-1")

    order = served.play(scenario)
    assert order["info"].startswith("<html>")
    assert order["status"] is None
    assert order["id"] == (order["info"] if served.dialect == "mexc" else None)


def test_an_order_whose_answer_is_lost_exists(served: Served) -> None:
    served.exchange.arm("lost_answer", ORDER, times=1)

    async def scenario(client: Any) -> Any:
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await far_order(client, "lost-1")
        return await client.fetch_order(None, SYMBOL, {"clientOrderId": "lost-1"})

    order = served.play(scenario)
    assert order["status"] == "open"
    assert order["clientOrderId"] == "lost-1"
    assert len(served.exchange.log.asked(ORDER)) >= 1


def test_a_cancel_whose_answer_is_lost_is_repeated_silently_and_not_found(served: Served) -> None:
    fault = served.exchange.arm("lost_answer", "DELETE /api/v3/order", times=1)

    async def scenario(client: Any) -> tuple[Any, Exception]:
        order = await far_order(client, "cancel-1")
        try:
            await client.cancel_order(order["id"], SYMBOL)
        except ccxt.BaseError as error:
            return await client.fetch_order(order["id"], SYMBOL), error
        raise AssertionError("the cancel went well")

    order, error = served.play(scenario)
    assert isinstance(error, ccxt.OrderNotFound if served.dialect == "binance" else ccxt.BadRequest)
    assert order["status"] == "canceled"
    assert fault.struck == 1
    sent = [r for r in served.exchange.log.asked("DELETE /api/v3/order") if r.params["orderId"] == order["id"]]
    assert len(sent) == 2


def test_a_clock_ahead_is_an_invalid_nonce_until_the_difference_is_known(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        served.exchange.arm("clock_skew", skew_ms=-2_000)  # once markets are there: mexc signs for them too
        with pytest.raises(ccxt.InvalidNonce):
            await client.fetch_balance()
        await client.load_time_difference()
        return await client.fetch_balance()

    assert served.play(scenario)["USDT"]["total"] > 0


def test_a_clock_far_behind_is_an_invalid_nonce(served: Served) -> None:
    served.exchange.arm("clock_skew", skew_ms=120_000)

    async def scenario(client: Any) -> Any:
        return await client.fetch_balance()

    with pytest.raises(ccxt.InvalidNonce):
        served.play(scenario)


def test_faults_strike_their_occurrence_symbol_and_time_only(served: Served) -> None:
    fault = served.exchange.arm("status", KLINES, symbol="ETH/USDT", skip=1, every=2, times=1)

    async def scenario(client: Any) -> list[bool]:
        fine = []
        for symbol in (SYMBOL, "ETH/USDT", "ETH/USDT", "ETH/USDT", "ETH/USDT"):
            try:
                await client.fetch_ohlcv(symbol, "1m", limit=1)
                fine.append(True)
            except ccxt.ExchangeNotAvailable:
                fine.append(False)
        return fine

    assert served.play(scenario) == [True, True, False, True, True]
    assert (fault.seen, fault.struck) == (2, 1)
    served.exchange.clear()
    served.exchange.arm("status", KLINES, seconds=0.05)

    async def later(client: Any) -> Any:
        await asyncio.sleep(0.1)
        return await bars(client)

    assert len(served.play(later)) == 3
