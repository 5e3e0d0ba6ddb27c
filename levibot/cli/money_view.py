"""Trades, orders and positions as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from levibot.cli.fitting_table import FittingTable
from levibot.cli.view import duration, stdout_console
from levibot.reports.rows import exact, protection_text

Row = Mapping[str, Any]
Cell = Callable[[Row], RenderableType]

# What is exported of each, in this order.
COLUMNS: dict[str, str] = {
    "trades": (
        "time symbol side role quantity price fee fee_asset liquidity realized_pnl position client_id fill_id "
        "recorded_at"
    ),
    "round_trips": (
        "opened_at closed_at symbol side quantity entry_price exit_price duration_seconds pnl pnl_ratio "
        "exit_reason remainder"
    ),
    "orders": (
        "time symbol state side kind role quantity filled average_price limit_price trigger_price "
        "trailing_offset time_in_force post_only reduce_only rests_on reason client_id exchange_id parent_id "
        "changed_at"
    ),
    "positions": (
        "symbol quantity entry_price mark unrealized_pnl realized_pnl fees fees_by_asset funding opened_at "
        "protection dust"
    ),
}


@dataclass(frozen=True)
class _View:
    """Columns of a table, in their order, and how each is written."""

    cells: Mapping[str, Cell]
    words: tuple[str, ...]
    left_out_first: tuple[str, ...]
    none: str
    sums: tuple[str, ...] = ()  # fields whose total is told


def print_rows(what: str, rows: Sequence[Row], total: int) -> None:
    """Print a table of rows, and say how many older ones were left out."""
    view, console = _VIEWS[what], stdout_console()
    if not rows:
        console.print(view.none)
        return
    cells = [{name: cell(row) for name, cell in view.cells.items()} for row in rows]
    console.print(FittingTable(list(view.cells), view.words, view.left_out_first, cells))
    if total > len(rows):
        console.print(Text(f"the newest {len(rows)} of {total}; --last N shows more", style="dim"))
    sums = [
        f"{name.replace('_', ' ')} {_sum(rows, name):+,.2f}" for name in view.sums if rows[0][name] is not None
    ]
    if sums:
        console.print(Text(" · ".join(["sum of these", *sums])))


def _sum(rows: Sequence[Row], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows if row[name] is not None), Decimal(0))


def text_cell(name: str) -> Cell:
    """Words, or a dash."""
    return lambda row: Text(str(row[name] if row[name] not in (None, "") else "–"))


def time_cell(name: str) -> Cell:
    """Date and time to the second."""
    return lambda row: Text(row[name][:19].replace("T", " ") if row[name] else "–")


def money_cell(name: str) -> Cell:
    """An amount in the quote asset, green or red."""

    def cell(row: Row) -> Text:
        if row[name] is None:
            return Text("–")
        amount = Decimal(row[name])
        return Text(f"{amount:+,.2f}", style="green" if amount > 0 else "red" if amount < 0 else "")

    return cell


def short_cell(name: str) -> Cell:
    """A number by its first digits; the exports tell all."""

    def cell(row: Row) -> Text:
        text = row[name]
        if text is None:
            return Text("–")
        number = Decimal(text)
        short = f"{number:,.2f}" if abs(number) >= 1000 else exact(Decimal(f"{number:.6g}")) or "0"
        return Text(short if len(short) < len(text) else text)

    return cell


def percent_cell(name: str) -> Cell:
    """A fraction as percent."""
    return lambda row: Text("–" if row[name] is None else f"{Decimal(row[name]):+.2%}")


def _fee(row: Row) -> Text:
    return Text(f"{Decimal(row['fee']):.4g} {row['fee_asset']}")


def fees_cell(row: Row) -> Text:
    """What was paid, by asset."""
    return Text(
        ", ".join(f"{Decimal(amount):.4g} {asset}" for asset, amount in row["fees_by_asset"].items()) or "–"
    )


def _price_of_order(row: Row) -> Text:
    parts = [("at", row["limit_price"]), ("from", row["trigger_price"]), ("trails", row["trailing_offset"])]
    return Text(" ".join(f"{word} {price}" for word, price in parts if price is not None) or "market")


def _why(row: Row) -> Text:
    rests = f"rests on the {row['rests_on']}" if row["rests_on"] == "exchange" else "rests in the broker"
    return Text(row["reason"] or (rests if row["rests_on"] else "–"))


def _protected(row: Row) -> Text:
    if row["dust"]:
        return Text("dust: too small to be sold", style="dim")
    if not row["protection"]:
        return Text("nothing rests", style="bold red") if row["quantity"] != "0" else Text("–")
    return Text("\n".join(map(protection_text, row["protection"])))


_VIEWS = {
    "trades": _View(
        {
            "time (UTC)": time_cell("time"),
            "symbol": text_cell("symbol"),
            "side": text_cell("side"),
            "role": text_cell("role"),
            "quantity": short_cell("quantity"),
            "price": short_cell("price"),
            "fee": _fee,
            "liquidity": text_cell("liquidity"),
            "PnL": money_cell("realized_pnl"),
            "position": short_cell("position"),
            "order": text_cell("client_id"),
        },
        ("symbol", "side", "role", "liquidity", "order"),
        ("order", "liquidity", "position", "fee"),
        "no trades",
        ("realized_pnl",),
    ),
    "round_trips": _View(
        {
            "closed (UTC)": time_cell("closed_at"),
            "opened (UTC)": time_cell("opened_at"),
            "symbol": text_cell("symbol"),
            "side": text_cell("side"),
            "quantity": short_cell("quantity"),
            "entry": short_cell("entry_price"),
            "exit": short_cell("exit_price"),
            "duration": lambda row: Text(duration(row["duration_seconds"])),
            "PnL": money_cell("pnl"),
            "PnL %": percent_cell("pnl_ratio"),
            "ended by": text_cell("exit_reason"),
            "remainder": lambda row: Text("–" if row["remainder"] == "0" else row["remainder"]),
        },
        ("symbol", "side", "ended by"),
        ("remainder", "duration", "opened (UTC)", "quantity"),
        "no round trip has ended",
        ("pnl",),
    ),
    "orders": _View(
        {
            "time (UTC)": time_cell("time"),
            "symbol": text_cell("symbol"),
            "state": text_cell("state"),
            "side": text_cell("side"),
            "kind": text_cell("kind"),
            "role": text_cell("role"),
            "quantity": short_cell("quantity"),
            "filled": short_cell("filled"),
            "price": _price_of_order,
            "why": _why,
            "order": text_cell("client_id"),
        },
        ("symbol", "state", "side", "kind", "role", "price", "why", "order"),
        ("order", "role", "filled"),
        "no such orders; without --all, only open ones are shown",
    ),
    "positions": _View(
        {
            "symbol": text_cell("symbol"),
            "quantity": short_cell("quantity"),
            "entry": short_cell("entry_price"),
            "mark": short_cell("mark"),
            "unrealized": money_cell("unrealized_pnl"),
            "realized": money_cell("realized_pnl"),
            "fees": fees_cell,
            "funding": money_cell("funding"),
            "opened (UTC)": time_cell("opened_at"),
            "protection": _protected,
        },
        ("protection",),
        ("opened (UTC)", "funding", "fees"),
        "no open position",
        ("unrealized_pnl", "realized_pnl"),
    ),
}
