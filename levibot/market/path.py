"""Ticks inside a bar: from candles to a stream of quotes and closed bars, in event time."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from levibot.bus.messages import MarketSpec, Trade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole

SPREAD = 0.0001  # of the price, where the source has no book


class Quote(NamedTuple):
    """One price update of a source."""

    event_ms: int
    bid: float
    ask: float
    last: float
    volume: float
    received_ns: int = 0  # CLOCK_BOOTTIME when its frame entered this machine; 0: as it is published


class TradeBatch(NamedTuple):
    """Public trades, in the order of the exchange; none of them was published before."""

    event_ms: int  # of the newest of them
    trades: Sequence[Trade]
    received_ns: int = 0
    backfilled: bool = False


class BookLevels(NamedTuple):
    """An order book, best first: price and base amount."""

    event_ms: int
    bids: Sequence[tuple[float, float]]
    asks: Sequence[tuple[float, float]]
    received_ns: int = 0


class Stale(NamedTuple):
    """Nothing can be trusted to be new any more."""

    event_ms: int
    reason: str


class Recovered(NamedTuple):
    """Prices are new again, and no bar is missing that the exchange has."""

    event_ms: int


class Correction(NamedTuple):
    """The exchange's own bar, of a minute for which another was published."""

    event_ms: int
    candle: Candle


class NewSpec(NamedTuple):
    """The exchange has changed the rules of the market."""

    event_ms: int
    spec: MarketSpec


class Ended(NamedTuple):
    """The source has no more data."""

    event_ms: int


Item = Quote | TradeBatch | BookLevels | Candle | Hole | Stale | Recovered | Correction | NewSpec | Ended
TimedItem = tuple[int, Item]  # when it happens, event time in ms


class Grid(NamedTuple):
    """When ticks happen: every `step_ms` of event time, `phase_ms` after the multiples of it."""

    step_ms: float
    phase_ms: float = 0.0

    def between(self, after_ms: int, before_ms: int) -> Iterator[int]:
        """Tick times t with after_ms <= t < before_ms."""
        index = math.ceil((after_ms - self.phase_ms) / self.step_ms)
        while (at := int(index * self.step_ms + self.phase_ms)) < before_ms:
            if at >= after_ms:
                yield at
            index += 1


def staggered(symbol: str, step_ms: float) -> Grid:
    """Grid of a symbol; symbols differ in phase, so that ticks spread over the step as on an exchange."""
    return Grid(step_ms, zlib.crc32(symbol.encode()) / 2**32 * step_ms)


# When the four points of a bar's path are ticks of their own, as offsets from its opening time. The first is
# after that, so that all bars of a minute close before any price of the next one is known.
_CORNERS_MS = (1, MINUTE_MS // 3, 2 * MINUTE_MS // 3, MINUTE_MS - 1)
_LEG_MS = MINUTE_MS // 3


def corners(candle: Candle) -> tuple[float, float, float, float]:
    """Open, the extreme nearer to it, the other extreme, close."""
    if candle.high - candle.open <= candle.open - candle.low:
        return candle.open, candle.high, candle.low, candle.close
    return candle.open, candle.low, candle.high, candle.close


def price_at(candle: Candle, offset_ms: int) -> float:
    """Price on the path of a bar, `offset_ms` after it opened."""
    points = corners(candle)
    leg, within_ms = divmod(offset_ms, _LEG_MS)
    return points[leg] + (points[leg + 1] - points[leg]) * (within_ms / _LEG_MS)


class PathMaker:
    """Turns the candles of one symbol into quotes and closed bars.

    Parameters
    ----------
    grid
        When ticks happen; None: four to a bar, at the corners of its path (for lockstep).
    decimals
        Decimals of the price tick.
    """

    def __init__(self, grid: Grid | None, decimals: int) -> None:
        self._grid = grid
        self._decimals = decimals
        self._tick = 10.0**-decimals

    def play(self, items: Iterable[Candle | Hole], after_ms: int) -> Iterator[TimedItem]:
        """What happens after `after_ms`, in order; a bar closes before the next one opens.

        Minutes that were filled have no ticks: nothing was traded, and whoever waits for prices must see
        that there are none.
        """
        end_ms = after_ms
        for item in items:
            if isinstance(item, Hole):
                end_ms = item.until_ms  # a hole is known, and filled, when it is over
            elif not item.synthetic:
                yield from self._ticks(item, after_ms)
                end_ms = item.close_ms
            else:
                end_ms = max(end_ms, item.close_ms)  # of an empty minute; one that fills a hole is over with it
            yield end_ms, item
        yield end_ms, Ended(end_ms)

    def _ticks(self, candle: Candle, after_ms: int) -> Iterator[TimedItem]:
        if self._grid is None:
            for offset, price in zip(_CORNERS_MS, corners(candle), strict=True):
                at = candle.open_ms + offset
                if at > after_ms:
                    yield at, self._quote(at, price, candle.volume / 4)
            return
        times = list(self._grid.between(candle.open_ms, candle.close_ms))
        for at in times:
            if at > after_ms:
                price = price_at(candle, at - candle.open_ms)
                yield at, self._quote(at, price, candle.volume / len(times))

    def _quote(self, at_ms: int, price: float, volume: float) -> Quote:
        decimals = self._decimals
        last = round(price, decimals)
        half = max(self._tick, last * SPREAD) / 2
        bid = round(last - half, decimals)
        ask = round(last + half, decimals)
        if bid >= ask:
            ask = round(bid + self._tick, decimals)
        return Quote(at_ms, bid, ask, last, volume)
