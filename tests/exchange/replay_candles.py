"""Recorded candles as a market: each bar becomes a few trades that make exactly this bar."""

from __future__ import annotations

import asyncio
import csv
import gzip
from decimal import Decimal
from pathlib import Path

from tests.exchange.clock import MINUTE_MS
from tests.exchange.market import Market
from tests.exchange.model import Bar, Instrument, Kind, Side
from tests.exchange.settings import Settings
from tests.exchange.sockets import Hub

STEP_S = 0.02
LEVELS = 60


def read(path: Path) -> list[Bar]:
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [_bar(row) for row in rows]


def _bar(row: list[str]) -> Bar:
    opening, high, low, close, volume = (Decimal(value) for value in row[1:6])
    return Bar(int(row[0]), opening, high, low, close, volume, volume * close, 4 if volume else 0)


def decompose(bar: Bar, tick: Decimal) -> list[tuple[int, Decimal, Decimal, bool]]:
    """Time, price, amount and whether the buyer was the maker, of four trades; a bar without volume has none.

    They go through the nearer extreme first and have the bar's open, high, low, close and volume.
    """
    if not bar.volume:
        return []
    nearer_low = bar.open - bar.low <= bar.high - bar.open
    path = [bar.open, *((bar.low, bar.high) if nearer_low else (bar.high, bar.low)), bar.close]
    part = (bar.volume / 4).quantize(tick)
    amounts = [part, part, part, bar.volume - 3 * part] if part else [bar.volume / 4] * 4
    times = (0, 15_000, 40_000, MINUTE_MS - 1)
    return [
        (bar.open_ms + at, price, amount, position % 2 == 1)
        for position, (at, price, amount) in enumerate(zip(times, path, amounts, strict=True))
    ]


class CandleReplay:
    """Bars before the start are history; from there each comes when its time comes.

    A minute that the record lacks is a minute in which the exchange was down: no bar, no book, no trade.
    """

    minutes_without_trades = False

    def __init__(self, settings: Settings) -> None:
        assert settings.replay is not None
        self.bars: dict[str, list[Bar]] = {}
        self.instruments: list[Instrument] = []
        for symbol in settings.symbols:
            path = settings.replay / f"{symbol.replace('/', '')}-1m.csv.gz"
            self.bars[symbol] = read(path)
            base, quote = symbol.split("/")
            first = self.bars[symbol][0].open
            tick, step = Decimal(1).scaleb(first.adjusted() - 6), Decimal("0.00001")
            self.instruments.append(Instrument(base, quote, tick, step, step, Decimal(5), first))
        shortest = min(self.bars.values(), key=len)
        self.start_ms: int | None = settings.start_ms or shortest[min(settings.history, len(shortest) - 1)].open_ms

    def prepare(self, market: Market, hub: Hub) -> None:
        self.market = market
        assert self.start_ms is not None
        self._due: dict[str, list[Bar]] = {}
        for symbol, bars in self.bars.items():
            state = market.symbols[symbol]
            state.bars = [bar for bar in bars if bar.open_ms < self.start_ms]
            self._due[symbol] = [bar for bar in reversed(bars) if bar.open_ms >= self.start_ms]
            if state.bars:
                state.last = state.bars[-1].close
                self._shape(symbol, state.last)
        self._trades: dict[str, list[tuple[int, Decimal, Decimal, bool]]] = {symbol: [] for symbol in self.bars}

    def publishes(self, kind: Kind, recorded: bool) -> bool:
        return True

    async def run(self) -> None:
        while True:
            now_ms = self.market.clock.market_ms()
            for symbol in self.bars:
                self._advance(symbol, now_ms)
            await asyncio.sleep(STEP_S)

    def _advance(self, symbol: str, now_ms: int) -> None:
        """Play every trade that is due, and set the book around the last."""
        before = self.market.symbols[symbol].last
        self._play_until(symbol, now_ms)
        last = self.market.symbols[symbol].last
        if last != before:
            self._shape(symbol, last)

    def _play_until(self, symbol: str, now_ms: int) -> None:
        while True:
            self._play(symbol, now_ms)
            due = self._due[symbol]
            if self._trades[symbol] or not due or due[-1].open_ms > now_ms:
                return
            bar = due.pop()
            self._open(symbol, bar)

    def _open(self, symbol: str, bar: Bar) -> None:
        self.market.close_bars(symbol, bar.open_ms)
        state = self.market.symbols[symbol]
        self._trades[symbol] = decompose(bar, state.instrument.step)
        if not self._trades[symbol]:
            state.forming = Bar(bar.open_ms, bar.open, bar.high, bar.low, bar.close)
            state.bar_changed = True

    def _play(self, symbol: str, now_ms: int) -> None:
        trades = self._trades[symbol]
        while trades and trades[0][0] <= now_ms:
            time_ms, price, amount, buyer_is_maker = trades.pop(0)
            self.market.trade(symbol, price, amount, buyer_is_maker, time_ms)
        forming = self.market.symbols[symbol].forming
        if forming is not None:
            self.market.close_bars(symbol, now_ms)

    def _shape(self, symbol: str, price: Decimal) -> None:
        """A book of even levels around a price."""
        state = self.market.symbols[symbol]
        rules = state.instrument
        gap = max(rules.tick, rules.to_tick(price * Decimal("0.0001")))
        middle = rules.to_tick(price)
        sides: tuple[tuple[Side, int], ...] = (("buy", -1), ("sell", 1))
        for side, direction in sides:
            wanted = {middle + direction * gap * step for step in range(1, LEVELS + 1)}
            for gone in set(state.book.side(side)) - wanted:
                state.book.set(side, gone, Decimal(0))
            for level in wanted:
                state.book.set(side, level, rules.to_step(Decimal(10_000) / level) or rules.step)
