"""Markets that are played from something stored or computed: open anywhere, then read forward."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, Protocol

from levibot.bus.messages import MarketSpec
from levibot.market.bars import Candle
from levibot.market.gaps import Hole, fill_gaps
from levibot.market.path import PathMaker, TimedItem, staggered
from levibot.market.specs import decimals_of_tick


class Opening(NamedTuple):
    """Where and how a market is opened."""

    from_ms: int  # event time: what happened until then is history
    bars: int  # closed bars of history, at most
    max_gap_minutes: int
    step_ms: float | None  # event time between two ticks; None: four ticks a bar, for lockstep


@dataclass(slots=True)
class Market:
    """One opened market: what it was until now, and what happens next."""

    spec: MarketSpec
    history: list[Candle]
    holes: list[Hole]  # those within the history
    stream: Iterator[TimedItem]  # in order of event time
    warnings: list[str] = field(default_factory=list)  # what was skipped, and why; grows as the stream is read
    opened_ms: int | None = None  # event time at which it was opened, where that is recorded


class Recording(Protocol):
    """Something that markets can be played from. Calls may block, so they belong in a thread."""

    disclosure: str  # one line for the operator: what these prices are

    def begin_ms(self, symbols: Sequence[str]) -> int | None:
        """Event time at which play begins where nothing else is asked for; None if there are no data."""
        ...

    def open(self, symbol: str, opening: Opening) -> Market:
        """Open the market of `symbol`.

        Raises
        ------
        MarketDataError
            If its data are missing or bad; the text names file and line.
        OSError
            If a file cannot be read now.
        """
        ...


def open_candles(symbol: str, spec: MarketSpec, candles: Iterable[Candle], opening: Opening) -> Market:
    """Open a market that is known by its candles alone.

    Parameters
    ----------
    candles
        Oldest first, from at least `opening.bars` minutes before `opening.from_ms`, as far as they go.
    """
    items = fill_gaps(candles, opening.max_gap_minutes)
    history, holes, rest = split(items, opening)
    grid = None if opening.step_ms is None else staggered(symbol, opening.step_ms)
    path = PathMaker(grid, decimals_of_tick(spec))
    return Market(spec, history, holes, path.play(rest, opening.from_ms))


def split(
    items: Iterator[Candle | Hole], opening: Opening
) -> tuple[list[Candle], list[Hole], Iterator[Candle | Hole]]:
    """Divide bars and holes into the history until `opening.from_ms`, and an iterator over the rest.

    A hole is known when it is over; its synthetic bars follow it to the same side.
    """
    history: deque[Candle] = deque(maxlen=opening.bars)
    holes: list[Hole] = []
    for item in items:
        known_ms = item.until_ms if isinstance(item, Hole) else item.close_ms
        if known_ms > opening.from_ms:
            rest: Iterator[Candle | Hole] = chain([item], items)
            break
        if isinstance(item, Hole):
            holes.append(item)
        else:
            history.append(item)
    else:
        rest = iter(())
    first_ms = history[0].open_ms if history else opening.from_ms
    return list(history), [hole for hole in holes if hole.until_ms > first_ms], rest
