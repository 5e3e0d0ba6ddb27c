"""What the table of quirks says of each exchange, seen in sessions with all five of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import ccxt
import pytest

from levibot.exchange.amendments import book_checksum
from levibot.exchange.candles import closed_until_ms, fetch_candles, first_day_ms
from levibot.exchange.session import ExchangeSession
from levibot.exchange.summing import sum_up
from levibot.exchange.validation import PublicTrade, read_book, read_trades
from levibot.market.bars import MINUTE_MS
from tests.exchange.bybit_format import trade_id
from tests.exchange.model import Trade
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import DialectName, Settings
from tests.exchange_adapter.conftest import SYMBOL, House

SYMBOLS = (SYMBOL, "ETH/USDT", "DOGE/USDT")
FEES = {"binance": "0.001", "mexc": "0.0005", "bybit": "0.001", "okx": "0.0015", "kraken": "0.004"}
WRONG_DEPTHS = {"bybit": ccxt.BadRequest, "okx": ccxt.AuthenticationError, "kraken": ccxt.NotSupported}


@pytest.fixture(scope="module", params=get_args(DialectName))
def any_exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(Settings(dialect=request.param, symbols=SYMBOLS, trades_per_s=20.0)) as exchange:
        yield exchange


@pytest.fixture
def anywhere(any_exchange: RunningExchange, tmp_path: Path) -> Iterator[House]:
    """Each of the five exchanges, without faults at the start of a test."""
    yield House(any_exchange, tmp_path / "state")
    any_exchange.clear()


def public(house: House, trade: Trade) -> PublicTrade:
    """A trade of the journal as a session has to read it from the stream."""
    ids = {"mexc": None, "bybit": trade_id(trade), "okx": str(2 * trade.id)}
    shown = ids.get(house.dialect, str(trade.id))
    return PublicTrade(shown, trade.time_ms, trade.side, float(trade.price), float(trade.amount))


def journal(house: House) -> list[PublicTrade]:
    return [public(house, trade) for trade in list(house.exchange.journal.trades[SYMBOL])]


def test_markets_are_read_exactly(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        for symbol in SYMBOLS:
            spec = session.spec(symbol)
            rules = anywhere.exchange.exchange.market.symbols[symbol].instrument
            assert (spec.amount_step, spec.price_tick) == (rules.step, rules.tick)
            assert spec.min_amount == rules.min_amount
            assert spec.min_cost == (0 if anywhere.dialect == "okx" else rules.min_cost)
            assert spec.taker_fee == Decimal(FEES[anywhere.dialect])
            assert spec.active
            assert (spec.base, spec.quote) == tuple(symbol.split("/"))
        anywhere.exchange.arm("halted", symbol="ETH/USDT")
        anywhere.exchange.arm("delisted", symbol="DOGE/USDT")
        await session.read_markets()
        assert [session.spec(symbol).active for symbol in SYMBOLS] == [True, False, False]

    anywhere.play(scenario)


def test_clocks_agree_to_the_second(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        assert abs(session.skew_ms) < (1_200 if anywhere.dialect == "kraken" else 300)  # it tells whole seconds

    anywhere.play(scenario)


def test_the_bars_to_begin_with_are_all_there_and_none_is_forming(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        found = await fetch_candles(session, SYMBOL, until_ms - 1500 * MINUTE_MS, until_ms)
        count = min(1500, (session.quirks.ohlcv_depth or 10_000) - 1)
        first_ms = found[0].open_ms
        assert first_ms - (until_ms - count * MINUTE_MS) in (0, MINUTE_MS), "a minute may end meanwhile"
        assert [bar.open_ms for bar in found] == list(range(first_ms, until_ms, MINUTE_MS))
        truth = {bar.open_ms: bar for bar in anywhere.exchange.exchange.market.symbols[SYMBOL].bars}
        for bar in found:
            there = truth[bar.open_ms]
            numbers = (there.open, there.high, there.low, there.close, there.volume)
            assert bar[1:6] == tuple(float(number) for number in numbers)

    anywhere.play(scenario)


def test_the_first_day_is_found(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        now_ms = session.exchange_ms()
        day_ms = 1440 * MINUTE_MS
        first_ms = anywhere.exchange.exchange.market.symbols[SYMBOL].bars[0].open_ms // day_ms * day_ms
        found = await first_day_ms(session, SYMBOL, now_ms - 20 * day_ms, now_ms)
        shallow = anywhere.dialect == "kraken"  # which gives no minute from before its newest 720
        assert found == (now_ms // day_ms * day_ms if shallow and found != first_ms else first_ms)

    anywhere.play(scenario)


def test_streamed_trades_are_those_of_the_journal_and_of_a_request(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        ids, heard = session.quirks.trade_ids, session.exchange.trades
        while len(heard.get(SYMBOL, ())) < 8:
            await session.exchange.watch_trades(SYMBOL)
        streamed = read_trades(list(heard[SYMBOL]), "stream", with_ids=ids)
        truth = journal(anywhere)
        begin = truth.index(streamed[0])
        assert streamed == truth[begin : begin + len(streamed)]
        found = await session.read(
            lambda exchange: exchange.fetch_trades(SYMBOL, None, 50),
            lambda rows: read_trades(rows, "request", with_ids=ids),
        )
        asked = sum_up(found) if session.quirks.sums_trades else found
        if session.quirks.sums_trades:
            assert len(asked) < len(found)
        assert {_whole(trade) for trade in streamed[-3:]} <= {_whole(trade) for trade in asked}
        if session.quirks.consecutive_trade_ids:
            numbers = [int(trade.id or "") for trade in streamed]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    anywhere.play(scenario)


def _whole(trade: PublicTrade) -> tuple[Any, ...]:
    """Without the time, of which a request tells Kraken's in seconds with a fraction."""
    return trade.id, trade.side, trade.price, trade.amount


def test_best_prices_of_all_symbols_come_in_one_request(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        has = session.exchange.has
        method = "fetch_bids_asks" if has.get("fetchBidsAsks") is True else "fetch_tickers"
        before = anywhere.asked("*")
        found = await session.call("data", lambda exchange: getattr(exchange, method)(list(SYMBOLS)))
        assert anywhere.asked("*") == before + 1
        for symbol in SYMBOLS:
            assert 0 < found[symbol]["bid"] < found[symbol]["ask"]

    anywhere.play(scenario)


def test_the_book_is_fifty_levels_deep_and_follows_the_market(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        exchange, depth = session.exchange, session.quirks.book_depth
        exchange.options.setdefault("watchOrderBook", {})["snapshotDelay"] = 2  # of MEXC
        for _ in range(8):
            book = await exchange.watch_order_book(SYMBOL, depth)
        top = {**book, "bids": list(book["bids"])[:50], "asks": list(book["asks"])[:50]}
        read = read_book(top, "book")
        assert len(read.bids) == len(read.asks) == 50
        best = anywhere.exchange.run(lambda there: there.market.symbols[SYMBOL].book.best("buy"))
        assert read.bids[0][0] == pytest.approx(float(best[0]), rel=0.002)

    anywhere.play(scenario)


def test_best_prices_stream_where_the_table_says_so_beside_the_book(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        exchange, quirks = session.exchange, session.quirks
        if quirks.best_price == "watch_order_book":
            return
        book = asyncio.create_task(exchange.watch_order_book(SYMBOL, quirks.book_depth))
        for _ in range(3):
            best = await getattr(exchange, quirks.best_price)([SYMBOL])
            assert 0 < best[SYMBOL]["bid"] < best[SYMBOL]["ask"]
            assert SYMBOL in exchange.bidsasks
        await book
        assert len(exchange.orderbooks[SYMBOL]["bids"]) >= 50

    anywhere.play(scenario)


def test_every_stream_of_the_table_resolves_on_one_connection(anywhere: House) -> None:
    opened = len(anywhere.exchange.log.streamed("open"))

    async def scenario(session: ExchangeSession) -> None:
        exchange, quirks = session.exchange, session.quirks
        exchange.options.setdefault("watchOrderBook", {})["snapshotDelay"] = 2  # of MEXC
        exchange.options["streamLimits"] = {"spot": 1}  # of Binance: all on one connection
        arguments = {
            "watch_order_book": (SYMBOL, quirks.book_depth),
            "watch_bids_asks": ([SYMBOL],),
            "watch_ohlcv": (SYMBOL, "1m"),
        }
        watches = [
            getattr(exchange, stream)(*arguments.get(stream, (SYMBOL,))) for stream in sorted(quirks.streams)
        ]
        assert all(await asyncio.wait_for(asyncio.gather(*watches), 60))

    anywhere.play(scenario)
    dials = len(anywhere.exchange.log.streamed("open")) - opened
    assert dials == (2 if anywhere.dialect == "okx" else 1)  # its bars come from another address


def test_a_depth_that_the_table_avoids_is_refused(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        if anywhere.dialect in WRONG_DEPTHS:
            wrong = 60 if anywhere.dialect == "bybit" else 50
            with pytest.raises(WRONG_DEPTHS[anywhere.dialect]):
                await session.exchange.watch_order_book(SYMBOL, wrong)

    anywhere.play(scenario)


def test_pings_keep_a_quiet_connection_and_their_loss_is_noticed(anywhere: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        session.exchange.streaming["keepAlive"] = 250
        watching = asyncio.create_task(_watch_for_ever(session))
        pings = len(anywhere.exchange.log.streamed("ping"))
        async with asyncio.timeout(60):
            while len(anywhere.exchange.log.streamed("ping")) < pings + 2:
                await asyncio.sleep(0.02)
            anywhere.exchange.arm("silent")
            anywhere.exchange.arm("no_pong", "PING")
            while not watching.done():
                await asyncio.sleep(0.02)
        with pytest.raises(ccxt.RequestTimeout):
            await watching

    anywhere.play(scenario)


async def _watch_for_ever(session: ExchangeSession) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await session.exchange.watch_trades(SYMBOL)


def test_the_checksum_of_a_book_is_that_of_krakens_own_example() -> None:
    asks = (
        (45285.2, 0.001),
        (45286.4, 1.54571953),
        (45286.6, 1.54571109),
        (45289.6, 1.54560911),
        (45290.2, 0.1589066),
        (45291.8, 1.54553491),
        (45294.7, 0.04454749),
        (45296.1, 0.3538),
        (45297.5, 0.09945542),
        (45299.5, 0.18772827),
    )
    bids = (
        (45283.5, 0.1),
        (45283.4, 1.54582015),
        (45282.1, 0.1),
        (45281.0, 0.1),
        (45280.3, 1.54592586),
        (45279.0, 0.0799),
        (45277.6, 0.03310103),
        (45277.5, 0.3),
        (45277.3, 1.54602737),
        (45276.6, 0.15445238),
    )
    assert book_checksum(bids, asks, 1, 8) == 3310070434
