"""A seeded market: a random walk of prices, a book around it, trades that eat into the book."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal

from tests.exchange.clock import MINUTE_MS
from tests.exchange.market import Market, SymbolMarket, minute_of
from tests.exchange.model import Bar, Instrument, Side

STEP_S = 0.02
LEVELS = 60
UNIT_FRACTION = Decimal("0.0001")


def instrument(symbol: str, price: str, trades_per_s: float = 2.0) -> Instrument:
    """A market with rules that fit its price: some 0.1 basis points a tick, some 0.1 quote units a step."""
    base, quote = symbol.split("/")
    first = Decimal(price)
    tick = Decimal(1).scaleb(first.adjusted() - 6)
    step = Decimal(1).scaleb(-first.adjusted() - 1) if first >= 1 else Decimal(1)
    return Instrument(base, quote, tick, step, step, Decimal(5), first, trades_per_s, max_amount=step * 1_000_000)


PRICES = {
    "BTC/USDT": "60000",
    "ETH/USDT": "3000",
    "SOL/USDT": "150",
    "BNB/USDT": "600",
    "XRP/USDT": "0.6",
    "DOGE/USDT": "0.12",
    "ADA/USDT": "0.45",
    "AVAX/USDT": "28",
    "LINK/USDT": "14",
    "LTC/USDT": "80",
    "DOT/USDT": "6",
    "TRX/USDT": "0.11",
    "UNI/USDT": "8",
    "ATOM/USDT": "7",
    "NEAR/USDT": "5",
    "APT/USDT": "9",
}


def instruments(symbols: list[str], trades_per_s: float = 2.0, quiet: list[str] | None = None) -> list[Instrument]:
    """Rules of known symbols; a quiet one trades once in ten minutes on average, and its book moves as seldom."""
    found = [instrument(symbol, PRICES.get(symbol, "10"), trades_per_s) for symbol in symbols]
    return [
        replace(rules, trades_per_s=1 / 600, quotes_per_s=1 / 600) if quiet and rules.symbol in quiet else rules
        for rules in found
    ]


class SymbolSimulation:
    """One symbol's random walk, counted in units of a ten-thousandth of its first price.

    The book moves with the walk, whether or not anyone trades; trades come as a Poisson process in market time.
    """

    def __init__(self, market: Market, state: SymbolMarket, seed: int, history: int, quotes_per_s: float) -> None:
        self.market = market
        self.state = state
        self.rules = state.instrument
        self.random = random.Random(f"{seed}/{self.rules.symbol}")
        self.unit = max(self.rules.tick, self.rules.to_tick(self.rules.first_price * UNIT_FRACTION))
        self.middle = int(self.rules.first_price / self.unit)
        self.quotes_per_s = self.rules.quotes_per_s or quotes_per_s
        start_ms = minute_of(market.clock.started_ms)
        self._make_history(start_ms - history * MINUTE_MS, history)
        state.last = self._price(self.middle)
        state.forming = Bar.at(start_ms, state.last)
        self._reshape()
        self.next_trade_ms = start_ms + self._wait_ms(self.rules.trades_per_s)
        self.next_quote_ms = start_ms + self._wait_ms(self.quotes_per_s)

    def _wait_ms(self, rate_per_s: float) -> float:
        return self.random.expovariate(rate_per_s) * 1000

    def _price(self, units: int) -> Decimal:
        return self.unit * units

    def _amount(self) -> Decimal:
        return self.rules.step * self.random.randint(100, 20_000)

    def _make_history(self, open_ms: int, count: int) -> None:
        for position in range(count):
            bar = Bar.at(open_ms + position * MINUTE_MS, self._price(self.middle))
            for _ in range(4):
                self._walk()
                price = self._price(self.middle)
                bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
            bar.volume = self._amount()
            bar.cost = bar.volume * bar.close
            bar.trades = 4
            self.state.bars.append(bar)

    def _walk(self) -> None:
        self.middle = max(LEVELS + 10, self.middle + self.random.choice((-1, 0, 0, 1)))

    def _reshape(self) -> None:
        book = self.state.book
        sides: tuple[tuple[Side, int, int], ...] = (("buy", self.middle - 1, -1), ("sell", self.middle, 1))
        for side, best, direction in sides:
            self._reshape_side(book.side(side), side, {self._price(best + direction * i) for i in range(LEVELS)})

    def _reshape_side(self, levels: dict[Decimal, Decimal], side: Side, wanted: set[Decimal]) -> None:
        book = self.state.book
        for price in sorted(set(levels) - wanted):
            book.set(side, price, Decimal(0))
        for price in sorted(wanted - set(levels)):
            book.set(side, price, self._amount())
        for price in self.random.sample(sorted(wanted), 2):
            book.set(side, price, self._amount())

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due."""
        if self.state.status != "trading":
            self.next_trade_ms = max(self.next_trade_ms, now_ms + self._wait_ms(self.rules.trades_per_s))
            return
        while self.next_trade_ms <= now_ms:
            self._trade(int(self.next_trade_ms))
            self.next_trade_ms += self._wait_ms(self.rules.trades_per_s)
        if self.next_quote_ms <= now_ms:
            self.next_quote_ms = now_ms + self._wait_ms(self.quotes_per_s)
            self._walk()
            self._reshape()

    def _trade(self, time_ms: int) -> None:
        taker: Side = self.random.choice(("buy", "sell"))
        against: Side = "sell" if taker == "buy" else "buy"
        best = self.state.book.best(against)
        if best is None:
            self._reshape()
            return
        price, there = best
        part = Decimal(self.random.randint(5, 60)) / 100
        amount = max(self.rules.step, self.rules.to_step(there * part))
        self.state.book.set(against, price, max(Decimal(0), there - amount))
        self.market.trade(self.rules.symbol, price, amount, taker == "sell", time_ms)
        if not self.state.book.side(against):
            self._reshape()


class Simulation:
    """All symbols of a market.

    Parameters
    ----------
    history
        Closed bars before the start.
    quotes_per_s
        Moves of each book in a market second; with a fast clock rather fewer, bounded by the step.
    """

    def __init__(self, market: Market, seed: int = 7, history: int = 2_000, quotes_per_s: float = 10.0) -> None:
        self.market = market
        self.parts = [
            SymbolSimulation(market, state, seed, history, quotes_per_s) for state in market.symbols.values()
        ]

    async def run(self) -> None:
        while True:
            now_ms = self.market.clock.market_ms()
            for part in self.parts:
                part.advance(now_ms)
                # Here, where every trade of the minute has happened, and not on the beat of the streams: a fast
                # clock would close minutes whose trades are still to come.
                self.market.close_bars(part.rules.symbol, now_ms)
            await asyncio.sleep(STEP_S)
