"""`risk`: state and limits of the portfolio."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from levibot.cli.target import Target, reasoned
from levibot.holdings import in_words

_COLOURS = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "red"}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the document of the HTTP interface.")
@click.pass_context
def risk(context: click.Context, as_json: bool) -> None:
    """Show the state of the portfolio, its limits and its equity.

    With what holds it back, what protects each position, locks and grants.
    """
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
    client = target.client()
    summary = client.get("/risk/summary")
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for line in _lines(summary, client.get("/live/status")):
        click.echo(line)


@risk.command("reset-day")
@reasoned
@click.pass_obj
def reset_day(target: Target) -> None:
    """End the daily stop before midnight.

    Positions may be opened again. The day's loss counts anew, from the equity of now: as much may be lost once
    more.
    """
    click.echo(target.client().post("/risk/reset_day")["message"])


def _lines(summary: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    state = click.style(summary["state"], fg=_COLOURS[summary["state"]], bold=True)
    yield f"{state} since {_time(summary['since_ms'])}{': ' + summary['reason'] if summary['reason'] else ''}"
    if live["kill_switch"]:
        yield f"kill switch on, by {live['who']}: {live['reason']}"
    if live["flatten"] is not None and not live["flatten"]["done"]:
        left = live["flatten"]["left"] or {}
        yield f"closing: {'; '.join(f'{s}: {why}' for s, why in left.items()) or 'waits for the broker'}"
    yield f"equity {_amount(summary['equity_now'])}, at the day's start {_amount(summary['equity_start_day'])}"
    realized, today = _percent(summary["realized_today_pct"]), _percent(summary.get("today_pct"))
    yield f"today {today}, of that realized {realized}"
    yield f"positions {summary['positions_open']}"
    for holding in live["holdings"]:
        yield f"  {in_words(holding, ends=False)}"
    shown = {"equity_now", "equity_start_day", "realized_today_pct", "today_pct", "positions_open", "global_stop"}
    shown |= {"kill_switch", "state", "reason", "since_ms", "gross_exposure", "net_exposure"}
    if "gross_exposure" in summary:
        gross, net = _amount(summary["gross_exposure"]), _amount(summary["net_exposure"])
        yield f"exposure gross {gross}, net {net}, in the quote asset"
    for name, value in summary.items():
        if name not in shown:
            yield from _named(name, value)


def _named(name: str, value: Any) -> Iterator[str]:
    """A value of any depth, in lines of ``name value``."""
    words = name.replace("_", " ")
    if isinstance(value, Mapping):
        yield f"{words}{'' if value else ' none'}"
        for inner, part in value.items():
            told = "none" if part is None else part  # a limit that is not set
            yield from (f"  {line}" for line in _named(str(inner), told))
    elif isinstance(value, list):
        yield f"{words}{'' if value else ' none'}"
        for part in value:
            text = ", ".join(_field(k, v) for k, v in part.items()) if isinstance(part, Mapping) else part
            yield f"  {text}"
    else:
        yield f"{words} {'unknown' if value is None else value}"


def _field(name: str, value: Any) -> str:
    """``until 2026-01-31 12:00:00 UTC``, for a time; else ``name value``."""
    if name.endswith("_ms") and isinstance(value, int):
        return f"{name.removesuffix('_ms').replace('_', ' ')} {_time(value)}"
    return f"{name.replace('_', ' ')} {value}"


def _time(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_ms / 1000))


def _amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.2%}"
