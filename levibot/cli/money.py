"""`trades`, `orders`, `positions`: read from ledgers and books, whether the daemon runs or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from levibot.cli.target import Target, complete_symbol
from levibot.errors import LeviBotError

if TYPE_CHECKING:
    from levibot.config import Config
    from levibot.reports.history import SymbolHistory
    from levibot.reports.sources import Records

_SHOWN = 50
_MARK_TIMEOUT = 2.0
Row = Mapping[str, Any]


def configuration(target: Target) -> Config:
    """The settings in force."""
    from levibot.config_file import load

    return load(target.config_path, os.environ).config


def complete_recorded(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Symbols of the running daemon and those that have a ledger, for the shell."""
    from levibot.reports.sources import symbols_on_disk

    found = {str(item.value) for item in complete_symbol(context, parameter, typed)}
    try:
        state_dir = configuration(Target(context.find_root().params.get("config_path"))).state_dir
    except LeviBotError:  # completion stays silent
        state_dir = None
    if state_dir is not None:
        found.update(symbol for symbol in symbols_on_disk(state_dir) if symbol.startswith(typed.upper()))
    return [CompletionItem(symbol) for symbol in sorted(found)]


def _last(act: Callable[..., None]) -> Callable[..., None]:
    """How many rows are printed; a table is short unless that is said, an export has all of them."""
    told = f"Newest rows that are printed.  [default: {_SHOWN} in a table, all in an export]"
    return click.option("--last", type=click.IntRange(1), help=told)(act)


def _exported(act: Callable[..., None]) -> Callable[..., None]:
    """Symbols, and the forms in which what is found can be printed."""
    as_csv = click.option("--csv", "form", flag_value="csv", help="Print CSV for spreadsheets.")
    as_json = click.option("--json", "form", flag_value="json", help="Print JSON; amounts are exact text.")
    symbols = click.argument("symbols", nargs=-1, metavar="[SYMBOL]...", shell_complete=complete_recorded)
    return symbols(as_csv(as_json(click.pass_context(act))))


@click.command()
@click.option("--round-trips", is_flag=True, help="Whole positions, from opening to end, instead of fills.")
@click.option("--since", help="UTC day or time, ISO 8601, of market time.")
@_last
@_exported
def trades(
    context: click.Context,
    symbols: tuple[str, ...],
    round_trips: bool,
    since: str | None,
    last: int | None,
    form: str | None,
) -> None:
    """Show what was bought and sold, fees, and the profit of each.

    PnL is after fees and funding, in the quote asset. Symbols that are stopped or were removed are shown too.
    """
    from levibot.reports.rows import fill_row, trip_row

    records, wanted = _read(context.obj, symbols)
    since_ms = _since_ms(since)
    if round_trips:
        trips = [trip for history in wanted for trip in history.trips.closed if trip.opened_ms >= since_ms]
        rows = [trip_row(trip) for trip in sorted(trips, key=lambda trip: trip.closed_ms or 0)]
    else:
        fills = [record for history in wanted for record in history.fills if record.event_ms >= since_ms]
        rows = [fill_row(record) for record in sorted(fills, key=lambda record: record.event_ms)]
    _show(context, records, "round_trips" if round_trips else "trades", rows, form, last)


@click.command()
@click.option("--open", "which", flag_value="open", default="open", help="Those that have not ended; the default.")
@click.option("--all", "which", flag_value="all", help="Those of the past too.")
@click.option("--since", help="UTC day or time, ISO 8601, of market time.")
@_last
@_exported
def orders(
    context: click.Context,
    symbols: tuple[str, ...],
    which: str,
    since: str | None,
    last: int | None,
    form: str | None,
) -> None:
    """Show orders, where they stand and why, stops and targets too."""
    from levibot.reports.rows import order_row

    records, wanted = _read(context.obj, symbols)
    since_ms = _since_ms(since)
    found = [
        order
        for history in wanted
        for order in (history.orders.values() if which == "all" else history.open_orders())
        if order.event_ms >= since_ms
    ]
    rows = [order_row(order) for order in sorted(found, key=lambda order: order.event_ms)]
    _show(context, records, "orders", rows, form, last)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Symbols too whose position is closed.")
@_exported
def positions(context: click.Context, symbols: tuple[str, ...], everything: bool, form: str | None) -> None:
    """Show what is held, its profit, and what rests to protect it.

    PnL is after fees and funding, in the quote asset. Marks are known while the daemon runs.
    """
    from levibot.reports.rows import position_row

    target: Target = context.obj
    records, wanted = _read(target, symbols)
    held = [history for history in wanted if history.tally.position.quantity or everything or symbols]
    engines = _engines(target) if any(history.tally.position.quantity for history in held) else []
    marks = {entry["symbol"]: Decimal(str(entry["price"])) for entry in engines if entry["price"]}
    rows = [position_row(history, marks.get(history.symbol)) for history in held]
    if form is None and engines:
        from levibot.cli.view import frozen_lines, stdout_console

        for line in frozen_lines(engines):
            stdout_console().print(line)
    _show(context, records, "positions", rows, form, None)


def _read(target: Target, written: Sequence[str]) -> tuple[Records, list[SymbolHistory]]:
    """All that is on disk, and the histories that were asked for."""
    from levibot.reports.sources import read_records
    from levibot.symbols import resolve

    config = configuration(target)
    records = read_records(config.state_dir)
    known = dict.fromkeys([*records.histories, *config.symbols])
    wanted = dict.fromkeys(resolve(one, known) for one in written) or records.histories
    return records, [records.histories[symbol] for symbol in wanted if symbol in records.histories]


def _since_ms(since: str | None) -> int:
    from levibot.market.source import parse_time

    return 0 if since is None else parse_time(since, "--since")


def _engines(target: Target) -> list[Row]:
    """What a running daemon says of its engines: newest prices, and what is frozen; none, if none runs."""
    try:
        engines: list[Row] = target.client(_MARK_TIMEOUT).get("/engines/status")["engines"]
    except LeviBotError:
        return []
    return engines


def _show(
    context: click.Context, records: Records, what: str, rows: Sequence[Row], form: str | None, last: int | None
) -> None:
    """Print rows, the newest of them if that was asked for; first what could not be read, and is not there."""
    from levibot.cli import export, money_view

    for trouble in records.troubles:
        click.echo(f"Error: {trouble}", err=True)
    if last is None and form is None and what != "positions":
        last = _SHOWN
    shown = rows[-last:] if last is not None else rows
    if form == "json":
        export.print_json(shown)
    elif form == "csv":
        export.print_csv(shown, money_view.COLUMNS[what].split())
    elif rows or not records.unknown:
        money_view.print_rows(what, shown, len(rows))
    else:
        click.echo(f"nothing could be read of {', '.join(records.unknown)}, so there may be {what} all the same")
    if records.troubles:
        context.exit(1)
