"""The simulated exchange: made-up markets, the same for the same seed and symbol, with a planted pattern.

Nothing here is a real price. The pattern is planted so that a newcomer sees trades soon, and disclosed so
that nobody takes the profit for skill:

1. **Momentum cycle.** The logarithm of each price swings ±0.9 % around its level with a period of 66
   minutes, which itself wanders a little. A cross of the 10- and 30-bar averages follows it with a lag
   short enough to earn: about two crosses an hour and symbol, and about 0.3 % a round trip before costs.
2. **Volume leads the move.** The volume of a minute follows how fast the cycle will move five minutes later.

Around that lies noise: a level for every four hours, drawn at random, and between two levels a Brownian
bridge. So any minute can be computed without those before its block, and a restart costs nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from levibot.bus.messages import MarketSpec
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.recording import Market, Opening, open_candles
from levibot.market.specs import decimals_of_tick, market_spec

DISCLOSURE = (
    "SIMULATED market: no real prices. A pattern is planted in it (a momentum cycle of about 66 minutes, "
    "with volume leading by 5): profits here mean nothing."
)

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01 00:00 UTC: first live minute
BLOCK_MINUTES = 240
CYCLE_MINUTES = 66.0
CYCLE_AMPLITUDE = 0.009
LEAD_MINUTES = 5

_WANDER_MINUTES = 437.0  # the phase of the cycle swings this slowly…
_WANDER_RADIANS = 0.8  # …by this much
_LEVEL_SIGMA = 0.01
_NOISE_SIGMA = 0.0006
_WICK = 0.0006
_NOTIONAL_PER_MINUTE = 200_000.0
_QUIET, _LOUD = 0.4, 4.0  # volume factors at rest and at the cycle's greatest speed

_KNOWN_PRICES = {
    "BTC": 60_000.0,
    "ETH": 3_000.0,
    "BNB": 600.0,
    "SOL": 150.0,
    "LTC": 85.0,
    "AVAX": 25.0,
    "LINK": 14.0,
    "DOT": 6.0,
    "XRP": 0.6,
    "ADA": 0.45,
    "DOGE": 0.12,
    "TRX": 0.13,
}


class SimulatedRecording:
    """Simulated candles of any symbol.

    Parameters
    ----------
    seed
        Another seed, other markets.
    start_ms
        First live minute; default 2025-01-01 00:00 UTC.
    """

    disclosure = DISCLOSURE

    def __init__(self, seed: int, start_ms: int | None = None) -> None:
        self._seed = seed
        self._start_ms = ORIGIN_MS if start_ms is None else start_ms

    def begin_ms(self, symbols: Sequence[str]) -> int | None:
        """First live minute; the same for all symbols."""
        return self._start_ms

    def open(self, symbol: str, opening: Opening) -> Market:
        """Market of `symbol`; it never ends."""
        market = SimulatedMarket(self._seed, symbol)
        first = opening.from_ms // MINUTE_MS - opening.bars
        return open_candles(symbol, market.spec, market.candles(first), opening)


class SimulatedMarket:
    """One simulated symbol, by minute since 1970.

    Parameters
    ----------
    seed, symbol
        Together they determine every price.
    """

    def __init__(self, seed: int, symbol: str) -> None:
        self._name = f"{seed}:{symbol}"
        draw = random.Random(self._name)
        self._phase = draw.uniform(0, 2 * math.pi)
        self._base_price = _KNOWN_PRICES.get(symbol.partition("/")[0]) or 10 ** draw.uniform(-1, 2.5)
        self.spec: MarketSpec = market_spec(symbol, self._base_price)
        self._price_scale = 10 ** decimals_of_tick(self.spec)
        self._amount_scale = round(1 / float(self.spec.amount_step))

    def candles(self, first_minute: int) -> Iterator[Candle]:
        """Candles from `first_minute` on, without end."""
        block, skip = divmod(first_minute, BLOCK_MINUTES)
        while True:
            yield from self._block(block)[skip:]
            block, skip = block + 1, 0

    def cycle(self, minute: float) -> float:
        """The planted momentum cycle, -1 to 1."""
        wander = _WANDER_RADIANS * math.sin(2 * math.pi * minute / _WANDER_MINUTES)
        return math.sin(2 * math.pi * minute / CYCLE_MINUTES + self._phase + wander)

    def _level(self, block: int) -> float:
        return random.Random(f"{self._name}:level:{block}").gauss(0, _LEVEL_SIGMA)

    def _block(self, block: int) -> list[Candle]:
        draw = random.Random(f"{self._name}:{block}")
        first = block * BLOCK_MINUTES
        cycle = [self.cycle(first + index) for index in range(BLOCK_MINUTES + LEAD_MINUTES + 1)]
        prices = self._prices(block, draw, cycle)
        fastest = 2 * math.pi / CYCLE_MINUTES
        scale, amounts, uniform = self._price_scale, self._amount_scale, draw.random
        candles = []
        for index in range(BLOCK_MINUTES):
            start, end = prices[index], prices[index + 1]
            high = max(start, end) + int(start * _WICK * uniform() * uniform())
            low = max(1, min(start, end) - int(start * _WICK * uniform() * uniform()))
            speed = min(1.0, abs(cycle[index + LEAD_MINUTES + 1] - cycle[index + LEAD_MINUTES]) / fastest)
            notional = _NOTIONAL_PER_MINUTE * (_QUIET + _LOUD * speed) * (0.75 + 0.5 * uniform())
            volume = int(notional / (start / scale) * amounts) / amounts
            candles.append(
                Candle((first + index) * MINUTE_MS, start / scale, high / scale, low / scale, end / scale, volume)
            )
        return candles

    def _prices(self, block: int, draw: random.Random, cycle: list[float]) -> list[int]:
        """Prices at the minutes of a block, both ends included, as whole numbers of price ticks."""
        walk = [0.0]
        for _ in range(BLOCK_MINUTES):
            walk.append(walk[-1] + draw.gauss(0, _NOISE_SIGMA))
        before, after = self._level(block), self._level(block + 1)
        slope = (after - before - walk[-1]) / BLOCK_MINUTES  # ties the walk to the next level
        unit = self._base_price * self._price_scale
        return [
            max(1, round(unit * math.exp(before + walk[i] + slope * i + CYCLE_AMPLITUDE * cycle[i])))
            for i in range(BLOCK_MINUTES + 1)
        ]
