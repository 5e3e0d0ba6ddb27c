"""What rows are made from: bars of symbols, with what an engine of each is told besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from levibot.bus.messages import AltData
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.ml.history import History, Source, history_of, read_bars

if TYPE_CHECKING:
    import polars as pl

# Told how far a training has come: the stage, and how many of how many steps of it (None: not known).
Progress = Callable[[str, int, int | None], None]

# Values of a fetch before the first bar may still be the newest ones there; none is used for so long.
_KNOWN_BEFORE_MS = 30 * 86_400_000


class FetchedValues(Protocol):
    """Alternative data that were fetched in the past, as `levibot.altdata.history.History` has them."""

    def values(self, assets: Sequence[str], from_ms: int, until_ms: int) -> list[AltData]:
        """Values of `assets` ("": of the whole market) that were fetched in a span, in order of time."""


class Material(NamedTuple):
    """Everything that features and labels of some symbols are made from.

    Training, tuning, evaluation and comparison of models all get their rows from here. So a row has what the
    engine of its symbol had in that minute: the leading market's bars, and what had been fetched by then.

    Candles are read once: make a new one for a second training.

    Parameters
    ----------
    by_symbol
        Bars and holes of each, oldest first, as `levibot.market.gaps.fill_gaps` gives them.
    bars
        How many that are, with those of `leading`, synthetic ones not counted; None: not known.
    notes
        What the operator should know.
    context
        Symbol of the leading market, ``[feed] context``; empty: none.
    leading
        Its bars, where it is none of the symbols; None: it is one, or there are none.
    altdata
        None: there are none.
    """

    by_symbol: Mapping[str, Iterable[Candle | Hole]]
    bars: int | None = None
    notes: tuple[str, ...] = ()
    context: str = ""
    leading: Iterable[Candle | Hole] | None = None
    altdata: FetchedValues | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """In the order of their numbers in rows: that of their names."""
        return tuple(sorted(self.by_symbol))

    @property
    def leads(self) -> str:
        """Symbol of the leading market, if its bars are there."""
        return self.context if self.leading is not None or self.context in self.by_symbol else ""

    def histories(self, progress: Progress) -> list[History]:
        """Bars and features of each symbol, in the order of `symbols`.

        Raises
        ------
        MarketDataError
            If a candle is bad.
        """
        return [history_of(source) for _, source in self.sources("computing features", progress)]

    def sources(self, stage: str, progress: Progress) -> Iterator[tuple[str, Source]]:
        """Each symbol, in the order of `symbols`, with what its features are made from.

        Raises
        ------
        MarketDataError
            If a candle is bad.
        """
        done = 0

        def report(more: int) -> None:
            nonlocal done
            done += more
            progress(stage, done, self.bars)

        report(0)
        own = self.by_symbol.get(self.context, self.leading)
        leading = None if own is None else read_bars(own, report)
        for symbol in self.symbols:
            if symbol == self.context and leading is not None:
                bars = leading  # which has been read
            else:
                bars = read_bars(self.by_symbol[symbol], report)
            yield symbol, Source(bars, leading, self._known(symbol, bars))

    def _known(self, symbol: str, bars: pl.DataFrame) -> list[AltData]:
        """What the engine of a symbol was told of its base asset, and of the whole market."""
        if self.altdata is None or not len(bars):
            return []
        first_ms, last_ms = bars["open_ms"][0], bars["open_ms"][-1]
        assets = [symbol.partition("/")[0], ""]
        return self.altdata.values(assets, first_ms - _KNOWN_BEFORE_MS, last_ms + MINUTE_MS)
