"""`equity`: what the account is worth, day by day, and what each symbol earned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from levibot.cli.money import configuration
from levibot.cli.target import Target


@click.command()
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3660), help="UTC days to show.")
@click.option("--points", is_flag=True, help="The curve instead of days: a point a minute, thinned to 1500.")
@click.option("--csv", "form", flag_value="csv", help="Print days, or points, as CSV for spreadsheets.")
@click.option("--json", "form", flag_value="json", help="Print all of it as JSON; amounts are exact text.")
@click.pass_obj
def equity(target: Target, days: int, points: bool, form: str | None) -> None:
    """Show what the account is worth, and what it earned.

    By UTC day of market time, and by symbol. Deposits and withdrawals do not count as profit. Works with the
    daemon running or not.
    """
    from levibot.cli import equity_view, export
    from levibot.equity.document import equity_document

    config = configuration(target)
    document = equity_document(config.state_dir, days)
    told = {name: _dated(part) for name, part in document.items()}
    if form == "json":
        export.print_json(told)
    elif form == "csv":
        export.print_csv(*((told["points"], equity_view.POINTS) if points else (told["days"], equity_view.DAYS)))
    else:
        equity_view.print_equity(
            told, points=points, capital=config.live.capital if config.mode == "live" else None
        )


def _dated(part: Any) -> Any:
    """The same with times as people write them."""
    from levibot.reports.rows import iso

    if isinstance(part, list):
        return [_dated(row) for row in part]
    if isinstance(part, Mapping) and "at" in part:
        return {"time": iso(round(part["at"] * 1000)), **{name: one for name, one in part.items() if name != "at"}}
    return part
