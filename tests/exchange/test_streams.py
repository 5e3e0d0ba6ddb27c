"""Public streams, as the real ccxt.pro hears them, against the journal."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served, start


async def collect_trades(client: Any, seconds: float) -> list[dict[str, Any]]:
    """What one watcher hears in that time, by draining ccxt's own cache."""
    end = client.milliseconds() + seconds * 1000
    while client.milliseconds() < end:
        await client.watch_trades(SYMBOL)
    return list(client.trades[SYMBOL])


def test_every_trade_arrives_once_and_in_order(served: Served) -> None:
    async def scenario(client: Any) -> list[dict[str, Any]]:
        return await collect_trades(client, 2)

    heard = served.play(scenario)
    prices = [(t["timestamp"], t["price"], t["amount"], t["side"]) for t in heard]
    truth = [(t.time_ms, float(t.price), float(t.amount), t.side) for t in served.exchange.journal.trades[SYMBOL]]
    first = truth.index(prices[0])
    assert len(prices) > 3
    assert prices == truth[first : first + len(prices)]
    if served.dialect == "mexc":
        assert heard[0]["id"] is None


def test_the_book_follows_the_market_and_never_crosses(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        for _ in range(10):
            book = await client.watch_order_book(SYMBOL, 50)
            assert book["bids"][0][0] < book["asks"][0][0]
        state = served.exchange.exchange.market.symbols[SYMBOL]
        return len(book["bids"]), state.book.update_id - book["nonce"]

    depth, behind = served.play(scenario)
    assert depth >= 50
    assert behind < 500


def test_best_prices_and_bars_stream(served: Served) -> None:
    async def scenario(client: Any) -> tuple[Any, Any]:
        if served.dialect == "binance":
            best = (await client.watch_bids_asks([SYMBOL]))[SYMBOL]
        else:
            best = await client.watch_ticker(SYMBOL)
        return best, await client.watch_ohlcv(SYMBOL, "1m")

    best, bars = served.play(scenario)
    assert best["bid"] < best["ask"]
    state = served.exchange.exchange.market.symbols[SYMBOL]
    assert bars[-1][0] >= state.bars[-1].open_ms


def test_what_the_real_ccxt_lacks_is_lacking(served: Served) -> None:
    """The ticker of Binance has no bid; MEXC's has no last price, and its `watch_bids_asks` never resolves."""

    async def scenario(client: Any) -> Any:
        ticker = await client.watch_ticker(SYMBOL)
        if served.dialect == "binance":
            assert ticker["bid"] is None
            assert ticker["last"] > 0
            return
        assert ticker["last"] is None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.watch_bids_asks([SYMBOL]), 1.5)

    served.play(scenario)


def test_unsubscribing_ends_a_stream() -> None:
    with start("binance") as exchange:

        async def scenario(client: Any) -> None:
            await client.watch_trades(SYMBOL)
            await client.un_watch_trades(SYMBOL)

        Served(exchange).play(scenario)
        assert [e.stream for e in exchange.log.streamed("unsubscribe")][:1] == ["btcusdt@trade"]


def test_mexc_takes_thirty_subscriptions_and_leaves_the_next_hanging() -> None:
    symbols = [f"C{number}/USDT" for number in range(31)]
    with start("mexc", symbols=tuple(symbols), history=5) as exchange:

        async def scenario(client: Any) -> None:
            await asyncio.gather(*(client.watch_trades(symbol) for symbol in symbols[:30]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.watch_trades(symbols[30]), 2)

        Served(exchange).play(scenario)
        assert len(exchange.log.streamed("refused")) == 1


def test_a_connection_lives_only_so_long() -> None:
    with start("binance", life_s=1.0) as exchange:

        async def scenario(client: Any) -> None:
            with pytest.raises(ccxt.NetworkError, match="closed by remote server"):
                await collect_trades(client, 5)

        Served(exchange).play(scenario)
        assert exchange.log.streamed("expired")


def test_too_many_messages_in_a_second_close_the_connection() -> None:
    with start("binance", commands_per_s=2) as exchange:

        async def scenario(client: Any) -> None:
            client.options["ws"]["cost"] = 0
            streams = (client.watch_trades, client.watch_order_book, client.watch_ticker, client.watch_ohlcv)
            results = await asyncio.gather(*(watch(SYMBOL) for watch in streams), return_exceptions=True)
            assert any(isinstance(result, Exception) for result in results)

        Served(exchange).play(scenario)
        assert [event.detail for event in exchange.log.streamed("refused")] == ["too many messages"]
