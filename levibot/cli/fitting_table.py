"""A table that leaves out its least important columns where the terminal is too narrow for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table

_WORDS_WIDTH = 32  # a longer reason goes over several lines, and costs no other column


@dataclass(frozen=True)
class FittingTable:
    """Rows of cells by column.

    Parameters
    ----------
    columns
        In their order; the first names the row.
    words
        Those that hold text; all others but the first are numbers.
    left_out_first
        What goes, one after the other, until the rest fits.
    rows
        Cells by column.
    """

    columns: Sequence[str]
    words: Sequence[str]
    left_out_first: Sequence[str]
    rows: Sequence[Mapping[str, RenderableType]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for count in range(len(self.left_out_first) + 1):
            table = self._table(self.left_out_first[:count])
            if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
                break
        yield table

    def _table(self, left_out: Sequence[str]) -> Table:
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        names = [name for name in self.columns if name not in left_out]
        for name in names:
            table.add_column(
                name,
                justify="left" if name in (self.columns[0], *self.words) else "right",
                no_wrap=name not in self.words,
                max_width=_WORDS_WIDTH if name in self.words else None,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(row[name] for name in names))
        return table
