"""Market data over REST, asked for by the real ccxt."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest

from tests.exchange.clock import MINUTE_MS
from tests.exchange.conftest import SYMBOL, Served


def test_markets_have_their_rules(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        return await client.load_markets(True)

    market = served.play(scenario)[SYMBOL]
    rules = served.exchange.exchange.market.symbols[SYMBOL].instrument
    assert market["active"] is True
    assert market["limits"]["cost"]["min"] == float(rules.min_cost)
    assert market["limits"]["amount"]["min"] == float(rules.min_amount)
    assert market["precision"]["amount"] == float(rules.step)
    assert market["precision"]["price"] == float(rules.tick)


def test_bars_come_in_pages_and_the_last_one_is_forming(served: Served) -> None:
    page = served.exchange.exchange.dialect.page

    async def scenario(client: Any) -> list[list[Any]]:
        now = client.milliseconds()
        since = now - 1500 * MINUTE_MS
        rows: list[list[Any]] = []
        while since < now:
            got = await client.fetch_ohlcv(SYMBOL, "1m", since, page)
            assert len(got) <= page
            if not got:
                break
            rows += got
            since = got[-1][0] + MINUTE_MS
        return rows

    rows = served.play(scenario)
    times = [row[0] for row in rows]
    assert times == list(range(times[0], times[-1] + 1, MINUTE_MS))
    assert len(rows) >= 1500
    state = served.exchange.exchange.market.symbols[SYMBOL]
    assert rows[-1][0] >= state.bars[-1].open_ms
    assert rows[5][4] == float(next(bar for bar in state.bars if bar.open_ms == rows[5][0]).close)


def test_a_page_is_no_longer_than_on_the_real_exchange(served: Served) -> None:
    async def scenario(client: Any) -> list[Any]:
        ask = client.publicGetKlines if served.dialect == "binance" else client.spotPublicGetKlines
        return list(await ask({"symbol": "BTCUSDT", "interval": "1m", "limit": 1800}))

    assert len(served.play(scenario)) == {"binance": 1000, "mexc": 500}[served.dialect]


def test_book_trades_and_tickers_agree_with_the_market(served: Served) -> None:
    async def scenario(client: Any) -> tuple[Any, ...]:
        return (
            await client.fetch_order_book(SYMBOL, 50),
            await client.fetch_trades(SYMBOL, limit=10),
            await client.fetch_ticker(SYMBOL),
            await client.fetch_bids_asks(),
        )

    book, trades, ticker, best = served.play(scenario)
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["bids"][0][0] < book["asks"][0][0]
    assert book["nonce"] > 1000
    truth = {(float(t.price), float(t.amount), t.time_ms) for t in served.exchange.journal.trades[SYMBOL]}
    assert len(trades) == 10
    assert {(t["price"], t["amount"], t["timestamp"]) for t in trades} <= truth
    assert ticker["bid"] < ticker["ask"]
    assert best[SYMBOL]["bid"] < best[SYMBOL]["ask"]


def test_trades_since_a_time_are_the_oldest_from_there(served: Served) -> None:
    known = served.exchange.journal.trades[SYMBOL]
    start, end = known[0].time_ms, known[4].time_ms

    async def scenario(client: Any) -> Any:
        return await client.fetch_trades(SYMBOL, start, params={"until": end})

    got = served.play(scenario)
    expected = [trade for trade in known if start <= trade.time_ms <= end]
    assert [trade["price"] for trade in got] == [float(trade.price) for trade in expected]
    if served.dialect == "binance":
        assert [int(trade["info"]["f"]) for trade in got] == [trade.id for trade in expected]
        assert all(trade["id"] != trade["info"]["f"] for trade in got), "an aggregate has a number of its own"


def test_the_newest_trades_are_those_of_the_stream(served: Served) -> None:
    """On Binance also by id: what is missing can be asked for from the first missing one on."""
    newest = {"fetchTradesMethod": "publicGetTrades"} if served.dialect == "binance" else {}

    async def scenario(client: Any) -> tuple[Any, Any]:
        while len(client.trades.get(SYMBOL, ())) < 5:
            await client.watch_trades(SYMBOL)
        return list(client.trades[SYMBOL]), await client.fetch_trades(SYMBOL, None, 500, newest)

    def content(trade: Any) -> tuple[Any, ...]:
        names = ("timestamp", "price", "amount", "side")
        return (trade["id"] if served.dialect == "binance" else None, *(trade[name] for name in names))

    streamed, asked = served.play(scenario)
    assert {content(trade) for trade in streamed} <= {content(trade) for trade in asked}
    if served.dialect != "binance":
        return
    first = int(streamed[2]["id"])
    by_id = {"fetchTradesMethod": "publicGetHistoricalTrades", "fromId": first}
    found = served.play(lambda client: client.fetch_trades(SYMBOL, None, 3, by_id))
    assert [int(trade["id"]) for trade in found] == [first, first + 1, first + 2]
    with pytest.raises(ccxt.BadRequest, match="Not all sent parameters were read"):
        served.play(lambda client: client.fetch_trades(SYMBOL, 1_700_000_000_000, 3, newest))


def test_the_newest_bar_is_forming_and_a_span_ends_where_it_is_told_to(served: Served) -> None:
    state = served.exchange.exchange.market.symbols[SYMBOL]
    until = state.bars[-3].open_ms

    async def scenario(client: Any) -> tuple[Any, Any, Any]:
        newest = await client.fetch_ohlcv(SYMBOL, "1m", limit=3)
        since = until - 4 * MINUTE_MS
        return newest, await client.fetch_ohlcv(SYMBOL, "1m", since, 100, {"until": until}), client.milliseconds()

    newest, span, now = served.play(scenario)
    assert now - newest[-1][0] < MINUTE_MS + 1_000
    assert [row[0] for row in span] == [until - step * MINUTE_MS for step in (4, 3, 2, 1, 0)]


def test_best_prices_of_several_symbols_in_one_request(served: Served) -> None:
    symbols = [SYMBOL, "ETH/USDT"]
    before = len(served.exchange.log.asked("GET /api/v3/ticker/bookTicker"))

    async def scenario(client: Any) -> tuple[Any, Any]:
        return await client.fetch_bids_asks(symbols), await client.fetch_bids_asks()

    some, all_of_them = served.play(scenario)
    for found in (some, all_of_them):
        assert set(symbols) <= set(found)
        assert all(found[symbol]["bid"] < found[symbol]["ask"] for symbol in symbols)
    assert len(served.exchange.log.asked("GET /api/v3/ticker/bookTicker")) == before + 2


def test_server_time_is_the_exchanges(served: Served) -> None:
    served.exchange.arm("clock_skew", skew_ms=-90_000)

    async def scenario(client: Any) -> float:
        return float(client.milliseconds() - await client.fetch_time())

    assert 89_000 < served.play(scenario) < 95_000


def test_an_unknown_symbol_is_a_bad_symbol(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        ask = client.publicGetDepth if served.dialect == "binance" else client.spotPublicGetDepth
        return await ask({"symbol": "NOPEUSDT"})

    with pytest.raises(ccxt.BadSymbol):
        served.play(scenario)


def test_a_halted_symbol_is_inactive_and_a_delisted_one_is_gone(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        return await client.load_markets(True)

    halted = served.exchange.arm("halted", symbol="ETH/USDT")
    assert served.play(scenario)["ETH/USDT"]["active"] is False
    served.exchange.clear()
    served.exchange.arm("delisted", symbol="ETH/USDT")
    assert "ETH/USDT" not in served.play(scenario)
    assert halted.kind == "halted"
