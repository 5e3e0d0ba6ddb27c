"""Bybit, OKX and Kraken as the real ccxt sees them: what their streams carry, and what their faults look like."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import pytest

from tests.exchange import __main__, connect, kraken_format, okx_format
from tests.exchange.conftest import SYMBOL, Served
from tests.exchange.model import Level
from tests.exchange.running import running
from tests.exchange.settings import PUBLIC_ONLY, Settings

pytestmark = pytest.mark.long  # mostly waiting; what the product makes of these servers is tested elsewhere

BARS = {"bybit": "GET /v5/market/kline", "okx": "GET /api/v5/market/*candles", "kraken": "GET /0/public/OHLC"}
TRADES = {"bybit": "publicTrade.*", "okx": "trades:*", "kraken": "trade:*"}
BOOKS = {"bybit": "orderbook.50.*", "okx": "books:*", "kraken": "book-100:*"}
DEPTH = {"bybit": 50, "okx": None, "kraken": 100}


@pytest.fixture(scope="module", params=PUBLIC_ONLY)
def module_served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with running(Settings(dialect=request.param, trades_per_s=20.0, history=50)) as exchange:
        yield Served(exchange)


@pytest.fixture
def public(module_served: Served) -> Iterator[Served]:
    """One exchange of each of the three, without faults at the start of a test."""
    yield module_served
    module_served.exchange.clear()


def test_by_hand_each_is_one_word_and_plain_configuration() -> None:
    for dialect in PUBLIC_ONLY:
        assert __main__.parse(["--dialect", dialect]).dialect == dialect
        place = connect.connection(dialect, 8901)
        sections = tomllib.loads(place.toml())["exchange"]
        assert sections == {"id": dialect, "urls": dict(place.urls), "options": dict(place.options)}
        assert all("127.0.0.1:8901" in url for url in place.urls.values())


def of(dialect: str) -> Any:
    return running(Settings(dialect=dialect, trades_per_s=20.0, history=5))  # type: ignore[arg-type]


async def hear_trades(client: Any, silence_s: float) -> None:
    while True:
        await asyncio.wait_for(client.watch_trades(SYMBOL), silence_s)


async def follow_book(client: Any, served: Served, updates: int) -> Any:
    for _ in range(updates):
        book = await client.watch_order_book(SYMBOL, DEPTH[served.dialect])
    return book


def test_the_book_is_that_of_the_market_at_the_same_moment(public: Served) -> None:
    def truth(exchange: Any) -> tuple[list[Any], list[Any]]:
        book = exchange.market.symbols[SYMBOL].book
        sides = (book.levels("buy", 50), book.levels("sell", 50))
        bids, asks = ([[float(price), float(amount)] for price, amount in side] for side in sides)
        return bids, asks

    async def scenario(client: Any) -> int:
        agreed = 0
        for _ in range(60):
            book = await follow_book(client, public, 1)
            held = (
                [list(level)[:2] for level in book["bids"][:50]],
                [list(level)[:2] for level in book["asks"][:50]],
            )
            assert held[0][0][0] < held[1][0][0]
            agreed += held == public.exchange.run(truth)
            if agreed >= 5:
                break
        return agreed

    assert public.play(scenario) >= 5


def test_a_ping_in_their_own_words_is_answered_and_a_missing_answer_is_a_timeout(public: Served) -> None:
    async def scenario(client: Any) -> None:
        await client.watch_trades(SYMBOL)
        while len(public.exchange.log.streamed("ping")) < 2:
            await client.watch_trades(SYMBOL)
        public.exchange.arm("silent")
        public.exchange.arm("no_pong", "PING")
        with pytest.raises(ccxt.RequestTimeout):
            await hear_trades(client, 5)

    public.play(scenario, keep_alive_ms=200)


def test_a_refused_subscription_is_an_error_or_hangs(public: Served) -> None:
    """Kraken's refusal names a request that ccxt does not wait for."""
    public.exchange.arm("refuse_subscription")
    expected, seconds = (TimeoutError, 1.0) if public.dialect == "kraken" else (ccxt.ExchangeError, 20.0)

    async def scenario(client: Any) -> None:
        with pytest.raises(expected):
            await asyncio.wait_for(client.watch_trades(SYMBOL), seconds)

    public.play(scenario)


def test_missing_depth_is_an_error_on_okx_only(public: Served) -> None:
    async def scenario(client: Any) -> None:
        await follow_book(client, public, 3)
        fault = public.exchange.arm("drop_frame", f"STREAM {BOOKS[public.dialect]}", times=1)
        if public.dialect == "okx":
            with pytest.raises(ccxt.InvalidNonce):
                await follow_book(client, public, 10)
        await follow_book(client, public, 5)
        assert fault.struck == 1

    public.play(scenario)


def test_a_crossed_book_and_a_malformed_frame_reach_ccxt(public: Served) -> None:
    heard: list[Any] = []

    async def scenario(client: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        await follow_book(client, public, 2)
        public.exchange.arm("crossed_book", f"STREAM {BOOKS[public.dialect]}", times=1)
        for _ in range(30):
            book = await follow_book(client, public, 1)
            if book["bids"][0][0] > book["asks"][0][0]:
                break
        else:
            raise AssertionError("no crossed book came")
        public.exchange.arm("malformed", f"STREAM {TRADES[public.dialect]}", times=1)
        with pytest.raises((TimeoutError, ccxt.ExchangeError)):
            await hear_trades(client, 0.6)

    public.play(scenario)
    assert public.dialect == "okx" or heard  # okx hands on a text that is no JSON, and reports nothing


def test_requests_are_struck_by_the_same_faults(public: Served) -> None:
    async def bars(client: Any) -> Any:
        return await client.fetch_ohlcv(SYMBOL, "1m", limit=3)

    public.exchange.arm("status", BARS[public.dialect], status=503, symbol=SYMBOL, times=1)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        public.play(bars)
    public.exchange.arm("status", BARS[public.dialect], status=429, retry_after=7, times=1)
    with pytest.raises((ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        public.play(bars)
    assert len(public.play(bars)) == 3


def test_an_unknown_symbol_is_an_error_in_their_own_words(public: Served) -> None:
    asks = {
        "bybit": ("publicGetV5MarketOrderbook", {"category": "spot", "symbol": "NOPEUSDT"}),
        "okx": ("publicGetMarketBooks", {"instId": "NO-PE"}),
        "kraken": ("publicGetDepth", {"pair": "NOPE"}),
    }
    method, params = asks[public.dialect]
    with pytest.raises(ccxt.ExchangeError, match=r"10001|51001|Unknown asset pair"):
        public.play(lambda client: getattr(client, method)(params))


def test_a_halted_symbol_is_inactive_and_a_delisted_one_is_gone(public: Served) -> None:
    async def scenario(client: Any) -> Any:
        return await client.load_markets(True)

    public.exchange.arm("halted", symbol="ETH/USDT")
    assert public.play(scenario)["ETH/USDT"]["active"] is False
    public.exchange.clear()
    public.exchange.arm("delisted", symbol="ETH/USDT")
    assert "ETH/USDT" not in public.play(scenario)


def test_best_prices_on_bybit_ruin_the_book_of_the_same_client() -> None:
    """Both are books to ccxt, kept under one name: one level takes the place of fifty."""
    with of("bybit") as exchange:

        async def scenario(client: Any) -> int:
            await client.watch_order_book(SYMBOL, 50)
            for _ in range(5):
                await client.watch_bids_asks([SYMBOL])
            return min(len(client.orderbooks[SYMBOL]["bids"]), len(client.orderbooks[SYMBOL]["asks"]))

        assert Served(exchange).play(scenario) < 50


def test_best_prices_on_kraken_come_as_tickers_without_a_time() -> None:
    with of("kraken") as exchange:

        async def scenario(client: Any) -> None:
            best = (await client.watch_bids_asks([SYMBOL]))[SYMBOL]
            assert best["bid"] < best["ask"]
            assert best["timestamp"] is None
            assert not client.bidsasks
            assert SYMBOL in client.tickers

        Served(exchange).play(scenario)


def test_a_streamed_trade_on_okx_stands_for_several_that_requests_give_one_by_one() -> None:
    with of("okx") as exchange:

        async def scenario(client: Any) -> tuple[list[Any], list[Any]]:
            while len(client.trades.get(SYMBOL, ())) < 5:
                await client.watch_trades(SYMBOL)
            return list(client.trades[SYMBOL]), await client.fetch_trades(SYMBOL, None, 500)

        streamed, single = Served(exchange).play(scenario)
    for trade in streamed:
        last, count = int(trade["id"]), int(trade["info"]["count"])
        parts = [one for one in single if last - count < int(one["id"]) <= last]
        assert len(parts) == count
        assert sum(Decimal(one["info"]["sz"]) for one in parts) == Decimal(trade["info"]["sz"])
        assert {one["price"] for one in parts} == {trade["price"]}
    ids = sorted(int(one["id"]) for one in single)
    assert ids[-1] - ids[0] == len(ids) - 1


async def raw_book(url: str, subscription: dict[str, Any], updates: int) -> list[dict[str, Any]]:
    """Messages about a book, as they come."""
    messages: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str(json.dumps(subscription))
        while len(messages) < updates:
            message = json.loads(await socket.receive_str(timeout=60), parse_float=Decimal, parse_int=Decimal)
            if "checksum" in str(message):
                messages.append(message)
    return messages


def apply(sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]], rows: list[list[Any]], depth: int) -> None:
    for side, changes in zip(sides, rows, strict=True):
        for price, amount in changes:
            side[Decimal(price)] = Decimal(amount)
            if not side[Decimal(price)]:
                del side[Decimal(price)]
    for price in sorted(sides[0], reverse=True)[depth:]:
        del sides[0][price]
    for price in sorted(sides[1])[depth:]:
        del sides[1][price]


def ordered(sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]) -> tuple[list[Level], list[Level]]:
    return sorted(sides[0].items(), reverse=True), sorted(sides[1].items())


def test_checksums_and_sequence_on_okx_are_those_of_the_book_that_a_client_builds() -> None:
    with of("okx") as exchange:
        subscription = {"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]}
        messages = asyncio.run(raw_book(f"ws://127.0.0.1:{exchange.port}/ws/v5/public", subscription, 6))
    assert [message["action"] for message in messages] == ["snapshot", *["update"] * 5]
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
    sequence = -1
    for message in messages:
        (data,) = message["data"]
        apply(sides, [[row[:2] for row in data[side]] for side in ("bids", "asks")], 400)
        assert data["checksum"] == okx_format.checksum(*ordered(sides))
        assert data["prevSeqId"] == sequence
        sequence = data["seqId"]


def test_checksums_on_kraken_are_those_of_the_book_that_a_client_cuts() -> None:
    with of("kraken") as exchange:
        params = {"channel": "book", "symbol": [SYMBOL], "depth": 10}
        url = f"ws://127.0.0.1:{exchange.port}/v2"
        messages = asyncio.run(raw_book(url, {"method": "subscribe", "params": params}, 15))
        rules = exchange.exchange.market.symbols[SYMBOL].instrument
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
    for message in messages:
        (data,) = message["data"]
        rows = [[[level["price"], level["qty"]] for level in data[side]] for side in ("bids", "asks")]
        apply(sides, rows, 10)
        assert data["checksum"] == kraken_format.checksum(*ordered(sides), rules)
        decimals = {-number.as_tuple().exponent for side in rows for _, number in side}
        assert decimals <= {kraken_format.places(rules.step)}, "the wire carries all places"
