"""Performance as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.text import Text

from levibot.cli.fitting_table import FittingTable
from levibot.cli.money_view import money_cell, short_cell, text_cell
from levibot.cli.view import duration, stdout_console

_CELLS = {
    "symbol": text_cell("symbol"),
    "trades": text_cell("trades"),
    "win rate": lambda row: Text("–" if row["win_rate"] is None else f"{Decimal(row['win_rate']):.1%}"),
    "profit factor": short_cell("profit_factor"),
    "average duration": lambda row: Text(
        "–" if row["average_duration_seconds"] is None else duration(row["average_duration_seconds"])
    ),
    "PnL": money_cell("pnl"),
}


def print_performance(rows: Sequence[Mapping[str, Any]], max_drawdown: str | None) -> None:
    """Print symbols, the total last, and the deepest drawdown; None: nothing is recorded."""
    console = stdout_console()
    cells = [{name: cell(row) for name, cell in _CELLS.items()} for row in rows]
    console.print(FittingTable(list(_CELLS), ("symbol",), ("average duration",), cells))
    if max_drawdown is not None:
        console.print(f"deepest drawdown of equity {Decimal(max_drawdown):.2%}")
