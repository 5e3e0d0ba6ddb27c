"""Faults of single frames, streams and connections that a live feed has to see through, as ccxt shows them."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served, start

pytestmark = pytest.mark.long  # mostly waiting; what the product makes of these servers is tested elsewhere

OTHER = "ETH/USDT"
PUBLIC_PATHS = ("time", "exchangeInfo", "depth", "klines", "trades", "aggTrades", "ticker/bookTicker")


def trades_of(served: Served, symbol: str) -> str:
    """The stream of one symbol's trades."""
    name = {"binance": "{}@trade", "mexc": "spot@public.aggre.deals.v3.api.pb@100ms@{}"}[served.dialect]
    market_id = symbol.replace("/", "")
    return "STREAM " + name.format(market_id.lower() if served.dialect == "binance" else market_id)


def agreement(served: Served, client: Any) -> bool | None:
    """Whether the book that ccxt holds is that of the market; None: they are not at the same update."""
    book = client.orderbooks[SYMBOL]

    def read(exchange: Any) -> tuple[bool, int, set[float], set[float]]:
        truth, told = exchange.market.symbols[SYMBOL].book, exchange.market.journal.books[SYMBOL][-1]
        prices = ({float(price) for price in side} for side in (truth.bids, truth.asks))
        return told.last_id == truth.update_id, told.first_id, *prices

    all_told, first_id, bids, asks = served.exchange.run(read)
    if not all_told or book["nonce"] != first_id:  # ccxt keeps the first id of an update of MEXC
        return None
    return {level[0] for level in book["bids"]} == bids and {level[0] for level in book["asks"]} == asks


def test_one_stream_of_one_symbol_falls_silent_and_the_others_flow(served: Served) -> None:
    fault = served.exchange.arm("silent", trades_of(served, SYMBOL), symbol=SYMBOL)

    async def scenario(client: Any) -> None:
        silent = asyncio.create_task(client.watch_trades(SYMBOL))
        for _ in range(3):
            await client.watch_trades(OTHER)
            await client.watch_order_book(SYMBOL)
        while fault.struck < 3:
            await client.watch_order_book(SYMBOL)
        assert not silent.done()
        silent.cancel()

    served.play(scenario)


def test_a_delayed_frame_is_late_and_the_next_one_overtakes_it(served: Served) -> None:
    async def scenario(client: Any) -> list[int]:
        await client.watch_trades(SYMBOL)
        fault = served.exchange.arm("delay", trades_of(served, SYMBOL), delay_ms=400, times=1)
        while not fault.struck:
            await client.watch_trades(SYMBOL)
        while (times := [trade["timestamp"] for trade in client.trades[SYMBOL]]) == sorted(times):
            await client.watch_trades(SYMBOL)
        return times

    times = served.play(scenario)
    assert times != sorted(times)
    truth = [trade.time_ms for trade in served.exchange.journal.trades[SYMBOL]]
    assert sorted(times) == [time for time in truth if times[0] <= time <= max(times)], "late, and not lost"


def test_missing_depth_is_an_error_on_binance_and_a_wrong_book_on_mexc(served: Served) -> None:
    async def follow(client: Any, updates: int) -> None:
        for _ in range(updates):
            await client.watch_order_book(SYMBOL)

    async def compare(client: Any) -> bool:
        while True:
            await client.watch_order_book(SYMBOL)
            agrees = agreement(served, client)
            if agrees is not None:
                return agrees

    async def scenario(client: Any) -> None:
        await follow(client, 3)
        if served.dialect == "binance":
            served.exchange.arm("drop_frame", "STREAM *depth*", symbol=SYMBOL, times=1)
            with pytest.raises(ccxt.ChecksumError):
                await follow(client, 10)
            return
        assert await compare(client)
        while await compare(client):  # what was missed may be said again by chance
            moved = client.orderbooks[SYMBOL]["bids"][0][0] * 0.00015
            served.exchange.arm("drop_frame", "STREAM *depth*", symbol=SYMBOL)
            state = served.exchange.exchange.market.symbols[SYMBOL]
            before = state.book.best("buy")[0]
            while abs(float(state.book.best("buy")[0] - before)) < moved:
                await asyncio.sleep(0.01)
            served.exchange.clear()

    served.play(scenario)


def test_a_drop_as_a_fault_is_a_network_error_for_who_waits_and_unseen_by_who_does_not(served: Served) -> None:
    async def hear(client: Any) -> None:
        while True:
            await client.watch_trades(SYMBOL)

    async def scenario(client: Any) -> tuple[int, int]:
        await client.watch_trades(SYMBOL)
        served.exchange.arm("drop", trades_of(served, SYMBOL), times=1)
        with pytest.raises(ccxt.NetworkError):
            await hear(client)
        await client.watch_trades(SYMBOL)
        dials = len(served.exchange.log.streamed("open"))
        fault = served.exchange.arm("drop", trades_of(served, SYMBOL), times=1)
        while not fault.struck:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await client.watch_trades(SYMBOL)
        return dials, len(served.exchange.log.streamed("open"))

    before, after = served.play(scenario)
    assert after == before + 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_handshake_is_a_network_error_and_the_next_dial_works(served: Served, status: int) -> None:
    fault = served.exchange.arm("status", "DIAL *", status=status, retry_after=1, times=1)

    async def scenario(client: Any) -> None:
        with pytest.raises(ccxt.NetworkError, match=str(status)):
            await client.watch_trades(SYMBOL)
        await client.watch_trades(SYMBOL)

    served.play(scenario)
    assert fault.struck == 1


@pytest.mark.parametrize("status", [418, 429])
def test_every_path_may_say_when_to_come_back(served: Served, status: int) -> None:
    expected = ccxt.DDoSProtection if served.dialect == "binance" else ccxt.RateLimitExceeded
    api = ["public"] if served.dialect == "binance" else ["spot", "public"]

    async def scenario(client: Any) -> None:
        served.exchange.arm("status", "GET /api/v3/*", status=status, retry_after=9)
        for path in PUBLIC_PATHS:
            with pytest.raises(expected):
                await client.fetch2(path, api)
            assert client.last_response_headers["Retry-After"] == "9"

    served.play(scenario)


def test_a_clock_that_is_wrong_is_wrong_in_everything_that_carries_a_time() -> None:
    for dialect in ("binance", "mexc"):
        with start(dialect, clock_offset_ms=-45_000, history=5, trades_per_s=20.0) as exchange:

            async def scenario(client: Any) -> list[float]:
                trade = (await client.watch_trades(SYMBOL))[-1]
                now = client.milliseconds()
                return [now - await client.fetch_time(), now - trade["timestamp"]]

            assert all(44_000 < behind < 50_000 for behind in Served(exchange).play(scenario, key="", secret=""))


def test_a_connection_without_messages_is_closed_and_pings_keep_it(served: Served) -> None:
    """MEXC does so after a minute; a ping in its own words is a message."""
    kept_by_pings = served.dialect == "mexc"
    with start(served.dialect, idle_s=0.8, trades_per_s=0.001, quotes_per_s=0.001, history=5) as exchange:

        async def scenario(client: Any) -> None:
            with pytest.raises((ccxt.NetworkError, TimeoutError)) as raised:
                await asyncio.wait_for(client.watch_trades(SYMBOL), 1.6)
            assert isinstance(raised.value, TimeoutError) is kept_by_pings

        Served(exchange).play(scenario, keep_alive_ms=200)
        assert bool(exchange.log.streamed("expired")) is not kept_by_pings
        assert exchange.exchange.dialect.idle_s == (60.0 if served.dialect == "mexc" else float("inf"))
