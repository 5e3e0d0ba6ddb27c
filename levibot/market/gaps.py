"""Missing minutes, and empty ones: short holes are filled forward, every hole is reported once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from levibot.market.bars import MINUTE_MS, Candle


class Hole(NamedTuple):
    """Minutes without data between two bars."""

    from_ms: int  # opening time of the first missing bar
    missing: int
    filled: bool

    @property
    def until_ms(self) -> int:
        """Opening time of the first bar after the hole: when it is over, and known."""
        return self.from_ms + self.missing * MINUTE_MS


def hole_between(before: Candle, after: Candle, max_gap_minutes: int) -> Hole | None:
    """The hole between two consecutive bars, or None if they follow each other."""
    missing = (after.open_ms - before.open_ms) // MINUTE_MS - 1
    return Hole(before.close_ms, missing, missing <= max_gap_minutes) if missing > 0 else None


def synthetic_bars(before: Candle, hole: Hole) -> Iterator[Candle]:
    """Bars at the last close with no volume, for each minute of a hole that is to be filled."""
    if hole.filled:
        for index in range(hole.missing):
            yield synthetic_bar(hole.from_ms + index * MINUTE_MS, before.close)


def synthetic_bar(open_ms: int, price: float) -> Candle:
    """A minute in which nothing was traded, at the last price."""
    return Candle(open_ms, price, price, price, price, 0.0, True)


def flagged(candle: Candle) -> Candle:
    """A bar as an exchange gives it; one without volume is synthetic, for nobody could trade at its prices."""
    return candle._replace(synthetic=True) if candle.volume == 0 else candle


def fill_gaps(candles: Iterable[Candle], max_gap_minutes: int) -> Iterator[Candle | Hole]:
    """Put each hole, then its synthetic bars, in front of the bar that follows it.

    Bars in which nothing was traded are flagged as synthetic too: neither kind can be traded on.

    Parameters
    ----------
    candles
        Oldest first, without duplicates.
    max_gap_minutes
        A longer hole is reported and left open.
    """
    before: Candle | None = None
    for candle in candles:
        if before is not None:
            hole = hole_between(before, candle, max_gap_minutes)
            if hole is not None:
                yield hole
                yield from synthetic_bars(before, hole)
        yield flagged(candle)
        before = candle
