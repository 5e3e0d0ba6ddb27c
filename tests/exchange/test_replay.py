"""Recorded frames and candles as a market."""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.exchange import replay_candles
from tests.exchange.clock import MINUTE_MS
from tests.exchange.conftest import Served, start
from tests.exchange.replay_candles import decompose
from tests.market.real_data import real_data

pytestmark = pytest.mark.long  # half a minute, mostly waiting; the other files are the short version

OUTAGE_MS = 1679657280000
"""2023-03-24 11:28 UTC: bars without volume, then none."""


def frame_file() -> Path:
    return real_data("frames", "binance-spot-2024-08-08") / "btcusdt-20240808.jsonl.gz"


def candles() -> Path:
    return real_data("candles", "binance-spot-2023-03")


def cut(path: Path, lines: int, to: Path) -> Path:
    """The first lines of a file of frames."""
    short = to / path.name
    with gzip.open(path, "rb") as source, gzip.open(short, "wb") as target:
        for _, line in zip(range(lines), source, strict=False):
            target.write(line)
    return short


def recorded_trades(path: Path) -> list[int]:
    with gzip.open(path, "rb") as lines:
        frames = (orjson.loads(line.partition(b" ")[2]) for line in lines)
        return [frame["data"]["t"] for frame in frames if frame.get("stream", "").endswith("@trade")]


async def hear_everything(client: Any, exchange: Any, symbol: str) -> tuple[list[int], int]:
    """Ids of trades and the number of books until the replay is over; books never crossed."""
    client.options["tradesLimit"] = 20_000
    books = 0

    async def watch(method: Any, each: Any) -> None:
        while True:
            each(await method(symbol))

    def book(told: Any) -> None:
        nonlocal books
        books += 1
        assert told["bids"][0][0] < told["asks"][0][0]

    watchers = [
        asyncio.create_task(watch(client.watch_trades, lambda trades: None)),
        asyncio.create_task(watch(client.watch_order_book, book)),
        asyncio.create_task(watch(client.watch_bids_asks_of, lambda best: None)),
    ]
    while not exchange.exchange.source.done.is_set():
        await asyncio.sleep(0.05)
        for watcher in watchers:
            assert not watcher.done(), watcher
    await asyncio.sleep(0.3)
    for watcher in watchers:
        watcher.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)
    return [int(trade["id"]) for trade in client.trades[symbol]], books


def replayed(path: Path, speed: float) -> tuple[list[int], int, Any]:
    with start("binance", replay=path, speed=speed) as exchange:

        async def scenario(client: Any) -> tuple[list[int], int]:
            async def best(symbol: str) -> Any:
                return await client.watch_bids_asks([symbol])

            client.watch_bids_asks_of = best
            return await hear_everything(client, exchange, "BTC/USDT")

        heard, books = Served(exchange).play(scenario)
        return heard, books, exchange.journal


def test_recorded_frames_pass_through_ccxt_trade_by_trade(tmp_path: Path) -> None:
    short = cut(frame_file(), 4_000, tmp_path)
    heard, books, journal = replayed(short, 0)
    assert heard == recorded_trades(short)
    assert books > 10
    assert [trade.id for trade in journal.trades["BTC/USDT"]] == heard


@pytest.mark.long
def test_all_recorded_frames_pass_through_ccxt() -> None:
    path = frame_file()
    heard, books, _ = replayed(path, 0)
    assert heard == recorded_trades(path)
    assert len(heard) == 9_757
    assert books > 100


def test_frames_are_served_byte_for_byte(tmp_path: Path) -> None:
    short = cut(frame_file(), 300, tmp_path)
    with gzip.open(short, "rb") as lines:
        sent = [line.rstrip(b"\n").partition(b" ")[2].decode() for line in lines]
    got: list[str] = []
    with start("binance", replay=short, speed=0) as exchange:

        async def scenario(client: Any) -> None:
            client.open()
            url = f"ws://127.0.0.1:{exchange.port}/stream"
            names = "btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"
            async with client.session.ws_connect(f"{url}?streams={names}") as socket:
                while len(got) < len(sent) - 1:
                    got.append(await socket.receive_str(timeout=60))

        Served(exchange).play(scenario)
    assert got == [frame for frame in sent if '"stream"' in frame]


def test_candles_replay_as_they_were_with_the_outage_in_them() -> None:
    begin = OUTAGE_MS - 80 * MINUTE_MS
    with start(
        "binance", symbols=("BTC/USDT",), replay=candles(), start_ms=begin, speed=6_000.0, trades_per_s=1
    ) as exchange:
        recorded = {bar.open_ms: bar for bar in replay_candles.read(candles() / "BTCUSDT-1m.csv.gz")}

        async def scenario(client: Any) -> list[list[Any]]:
            end = begin + 240 * MINUTE_MS
            while exchange.run(lambda e: e.clock.market_ms()) < end:
                await asyncio.sleep(0.02)
            rows = await client.fetch_ohlcv("BTC/USDT", "1m", begin, 1000)
            return [row for row in rows if row[0] < end - MINUTE_MS]

        rows = Served(exchange).play(scenario)
    for row in rows:
        bar = recorded[row[0]]
        values = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        assert row[1:] == [pytest.approx(float(value)) for value in values], row[0]
    minutes = {row[0] for row in rows}
    missing = set(range(min(minutes), max(minutes), MINUTE_MS)) - minutes
    assert len(missing) == 80
    assert sum(1 for row in rows if row[5] == 0) >= 70


def test_a_bar_becomes_trades_that_make_exactly_this_bar() -> None:
    for bar in replay_candles.read(candles() / "BTCUSDT-1m.csv.gz")[:500]:
        trades = decompose(bar, Decimal("0.00001"))
        prices = [price for _, price, _, _ in trades]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert sum(amount for _, _, amount, _ in trades) == bar.volume
        assert all(amount > 0 for _, _, amount, _ in trades)
