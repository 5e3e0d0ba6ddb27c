"""`performance`: what trading came to, by symbol and in all."""

from __future__ import annotations

import click

from levibot.cli.money import configuration
from levibot.cli.target import Target

_COLUMNS = ("symbol", "trades", "win_rate", "profit_factor", "average_duration_seconds", "pnl")


@click.command()
@click.option("--csv", "form", flag_value="csv", help="Print CSV for spreadsheets.")
@click.option("--json", "form", flag_value="json", help="Print JSON; amounts are exact text.")
@click.pass_context
def performance(context: click.Context, form: str | None) -> None:
    """Show win rate, profit factor and more, the best symbol first.

    Of round trips that have ended. The deepest drawdown is that of the record of equity.
    """
    from levibot.cli import export, performance_view
    from levibot.equity.document import drawdown
    from levibot.reports.performance import performance_row
    from levibot.reports.sources import read_records

    target: Target = context.obj
    state_dir = configuration(target).state_dir
    records = read_records(state_dir)
    for trouble in records.troubles:
        click.echo(f"Error: {trouble}", err=True)
    by_symbol = {symbol: history.trips.closed for symbol, history in records.histories.items()}
    rows = [performance_row(symbol, trips) for symbol, trips in by_symbol.items() if trips]
    rows.sort(key=lambda row: float(row["pnl"]), reverse=True)
    total = performance_row("all", [trip for trips in by_symbol.values() for trip in trips])
    deepest = drawdown(state_dir)
    if form == "json":
        export.print_json({"symbols": rows, "all": {**total, "max_drawdown": deepest}})
    elif form == "csv":
        export.print_csv([*rows, total], _COLUMNS)
    else:
        performance_view.print_performance([*rows, total], deepest)
    if records.troubles:
        context.exit(1)
