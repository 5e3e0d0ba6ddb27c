"""A strategy that writes down all that it is given, for tests that look into an engine from outside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from levibot.bus.messages import Bar, Book, Position, Trades
from levibot.strategies.base import Signal

NAME = "tests.market_live.diary:Diary"


class Diary:
    """Never trades.

    Parameters
    ----------
    folder
        Where a file for each symbol is written, one JSON value a line.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    @property
    def warm_up_bars(self) -> int:
        return 1

    def warm_up(self, bars: Sequence[Bar]) -> None:
        for bar in bars:
            self._write(bar.symbol, "history", bar.open_ms)

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        self._write(bar.symbol, "bar", bar.open_ms)
        return None

    def on_trades(self, trades: Trades, position: Position) -> Signal | None:
        self._write(trades.symbol, "trades", [trade.trade_id for trade in trades.trades])
        return None

    def on_book(self, book: Book, position: Position) -> Signal | None:
        self._write(book.symbol, "book", [book.bids[0][0], book.asks[0][0]] if book.bids and book.asks else [])
        return None

    def _write(self, symbol: str, kind: str, value: Any) -> None:
        path = self._folder / f"{symbol.replace('/', '-')}.diary"
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, value]) + "\n")


class Pages(NamedTuple):
    """What one engine's strategy was given."""

    history: list[int]  # opening times
    bars: list[int]
    trades: Counter[str]  # ids
    books: list[tuple[float, float]]  # best bid and ask


def read(folder: Path, symbol: str) -> Pages:
    """The diary of the engine of `symbol`, up to its last whole line."""
    pages = Pages([], [], Counter(), [])
    for kind, value in _lines(folder / f"{symbol.replace('/', '-')}.diary"):
        if kind == "history":
            pages.history.append(value)
        elif kind == "bar":
            pages.bars.append(value)
        elif kind == "trades":
            pages.trades.update(value)
        elif value:
            pages.books.append((value[0], value[1]))
    return pages


def _lines(path: Path) -> Iterator[list[Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
