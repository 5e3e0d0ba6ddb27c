"""Frames as Binance sent them, passed on byte for byte; books, trades and bars follow them for REST."""

from __future__ import annotations

import asyncio
import gzip
import heapq
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from tests.exchange.market import Market, minute_of
from tests.exchange.model import Bar, Frame, Instrument, Kind, Level
from tests.exchange.simulation import instrument
from tests.exchange.sockets import Hub

KINDS: dict[str, Kind] = {"trade": "trade", "depth@100ms": "depth", "bookTicker": "quote"}


def read(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Receipt time in nanoseconds, market id, and the frame."""
    market_id = path.name.partition("-")[0].upper()
    with gzip.open(path, "rb") as lines:
        for line in lines:
            received, _, raw = line.rstrip(b"\n").partition(b" ")
            yield int(received), market_id, raw


class FrameReplay:
    """Replays files of frames together, in the order of their receipt.

    Parameters
    ----------
    speed
        Recorded seconds for each second; 0: as fast as the clients take it.
    waits
        Start only `settle_s` after the last subscription came, so that nothing is missed.
    lead_s
        Start this many seconds after the exchange, whose clock shows the time of the first frame then: for
        clients whose own clock runs as the market's.
    """

    minutes_without_trades = False
    settle_s = 1.0

    def __init__(self, paths: list[Path], speed: float, *, waits: bool, lead_s: float = 0.0) -> None:
        self.paths = paths
        self.speed = speed
        self.waits = waits
        self.lead_s = lead_s
        self.done = asyncio.Event()
        self.instruments: list[Instrument] = []
        self.start_ms: int | None = None
        self._ids: dict[str, str] = {}
        self._snapshots: dict[str, dict[str, Any]] = {}
        for path in paths:
            self._look_into(path)

    def _look_into(self, path: Path) -> None:
        """Find the snapshot and the first trade among the first frames."""
        price: str | None = None
        for received, market_id, raw in read(path):
            content = orjson.loads(raw)
            data = content.get("data", content)
            if self.start_ms is None:
                self.start_ms = int(received // 1_000_000 - self.lead_s * 1000 * self.speed)
            if "lastUpdateId" in content:
                self._snapshots[market_id] = content
            if data.get("e") == "trade":
                price = price or data["p"]
            if price and market_id in self._snapshots:
                break
        market_id = path.name.partition("-")[0].upper()
        rules = instrument(f"{market_id.removesuffix('USDT')}/USDT", str(Decimal(price or "1").normalize()))
        cent, dust = Decimal("0.01"), Decimal("0.00001")
        first = rules.first_price
        self.instruments.append(Instrument(rules.base, rules.quote, cent, dust, dust, Decimal(5), first))
        self._ids[market_id] = rules.symbol

    def prepare(self, market: Market, hub: Hub) -> None:
        self.market, self.hub = market, hub
        for market_id, snapshot in self._snapshots.items():
            book = market.symbols[self._ids[market_id]].book
            book.bids, book.asks = _levels(snapshot["bids"]), _levels(snapshot["asks"])
            book.update_id = snapshot["lastUpdateId"]

    def publishes(self, kind: Kind, recorded: bool) -> bool:
        return recorded or kind in ("bar", "ticker")

    async def _settle(self) -> None:
        await self.hub.subscribed.wait()
        while self.hub.subscribed.is_set():
            self.hub.subscribed.clear()
            await asyncio.sleep(self.settle_s)

    async def run(self) -> None:
        await asyncio.sleep(self.lead_s)
        if self.waits:
            await self._settle()
        began_ns, first_ns = time.monotonic_ns(), 0
        merged = heapq.merge(*(read(path) for path in self.paths))
        for count, (received, market_id, raw) in enumerate(merged):
            first_ns = first_ns or received
            if self.speed:
                due = (received - first_ns) / self.speed - (time.monotonic_ns() - began_ns)
                if due > 1e6:
                    await asyncio.sleep(due / 1e9)
            if count % 50 == 0:
                await asyncio.sleep(0)
                await self.hub.drained()
            self._play(self._ids[market_id], raw)
        for symbol in self.market.symbols:
            self.market.close_bars(symbol, minute_of(self.market.clock.market_ms()))
        self.done.set()

    def _play(self, symbol: str, raw: bytes) -> None:
        content = orjson.loads(raw)
        stream = content.get("stream")
        if stream is None:
            return
        data = content["data"]
        kind = KINDS[stream.partition("@")[2]]
        if kind == "depth":
            self._follow_book(symbol, data)
        elif kind == "trade":
            self._follow_trade(symbol, data)
        self.hub.publish(kind, symbol, Frame(symbol, stream, raw))

    def _follow_book(self, symbol: str, data: dict[str, Any]) -> None:
        book = self.market.symbols[symbol].book
        if data["u"] <= book.update_id:
            return
        for side, rows in ((book.bids, data["b"]), (book.asks, data["a"])):
            for price, amount in rows:
                level = Decimal(price)
                if Decimal(amount):
                    side[level] = Decimal(amount)
                else:
                    side.pop(level, None)
        book.update_id = data["u"]

    def _follow_trade(self, symbol: str, data: dict[str, Any]) -> None:
        price = Decimal(data["p"])
        state = self.market.symbols[symbol]
        if state.forming is None and not state.bars:
            state.forming = Bar.at(minute_of(data["T"]), price)
        self.market.trade(symbol, price, Decimal(data["q"]), data["m"], data["T"], trade_id=data["t"])


def _levels(rows: list[list[str]]) -> dict[Decimal, Decimal]:
    levels: list[Level] = [(Decimal(price), Decimal(amount)) for price, amount in rows]
    return dict(levels)
