"""Equity as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.text import Text

from levibot.cli.fitting_table import FittingTable
from levibot.cli.money_view import fees_cell, money_cell, percent_cell, short_cell, text_cell, time_cell
from levibot.cli.view import stdout_console

POINTS = ("time", "equity", "cash", "funds", "realized_pnl", "unrealized_pnl", "fees", "funding")
DAYS = (
    "time",
    "equity_start",
    "equity_end",
    "pnl",
    "return_ratio",
    "realized_pnl",
    "unrealized_pnl",
    "fees",
    "funding",
    "moved",
)
_DAY_CELLS = {
    "day (UTC)": lambda row: Text(row["time"][:10]),
    "equity": short_cell("equity_end"),
    "PnL": money_cell("pnl"),
    "return": percent_cell("return_ratio"),
    "realized": money_cell("realized_pnl"),
    "unrealized": money_cell("unrealized_pnl"),
    "fees": short_cell("fees"),
    "funding": money_cell("funding"),
    "moved": money_cell("moved"),
}
_SYMBOL_CELLS = {
    "symbol": text_cell("symbol"),
    "position": short_cell("quantity"),
    "mark": short_cell("mark"),
    "PnL day": money_cell("day_pnl"),
    "unrealized": money_cell("unrealized_pnl"),
    "realized": money_cell("realized_pnl"),
    "fees": fees_cell,
    "funding": money_cell("funding"),
    "opened": text_cell("positions_opened"),
}
_POINT_CELLS = {
    "time (UTC)": time_cell("time"),
    "equity": short_cell("equity"),
    "cash": short_cell("cash"),
    "realized": money_cell("realized_pnl"),
    "unrealized": money_cell("unrealized_pnl"),
}


def print_equity(document: Mapping[str, Any], *, points: bool, capital: Decimal | None) -> None:
    """Print the curve, or days and symbols; what was put in and taken out below.

    Parameters
    ----------
    document
        As `equity_document` makes it, with times as text.
    points
        The curve instead of days.
    capital
        Most that is counted as LeviBot's; None: all.
    """
    console, now = stdout_console(), document["now"]
    if now is None:
        console.print("nothing is recorded yet; the daemon records a point a minute of market time")
        return
    if points:
        console.print(_table(_POINT_CELLS, document["points"]))
    else:
        console.print(_table(_DAY_CELLS, document["days"]))
        console.print(_table(_SYMBOL_CELLS, document["symbols"]))
    for move in document["moves"]:
        amount = Decimal(move["amount"])
        console.print(Text(f"{move['time'][:19].replace('T', ' ')}  {move['kind']} {amount:+f} {move['asset']}"))
    if document["moves"] and capital is not None:
        words = f"of what was moved, that is counted which lies within [live] capital = {capital:f}"
        console.print(Text(words, style="dim"))
    profit = Decimal(now["equity"]) - Decimal(now["funds"])
    console.print(
        Text.assemble(
            "equity ",
            (f"{Decimal(now['equity']):,.2f} {document['quote']}", "bold"),
            f" at {now['time'][:19].replace('T', ' ')} UTC of market time"
            f" · {Decimal(now['funds']):,.2f} put in · {profit:+,.2f} earned"
            f" · realized {Decimal(now['realized_pnl']):+,.2f} · unrealized {Decimal(now['unrealized_pnl']):+,.2f}"
            f" · fees {Decimal(now['fees']):,.2f} · funding {Decimal(now['funding']):+,.2f}",
        )
    )


def _table(cells: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> FittingTable:
    last = [name for name in ("funding", "fees", "opened", "cash") if name in cells]
    return FittingTable(list(cells), (), last, [{name: cell(row) for name, cell in cells.items()} for row in rows])
