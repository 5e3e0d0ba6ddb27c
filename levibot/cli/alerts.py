"""`alerts`: what stands, what was, and whether they reach anybody."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from levibot.cli.target import Target
from levibot.errors import StopError

_POLL = 0.2
_COLOURS = {"critical": "red", "warning": "yellow"}


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Those of the last days too that are over.")
@click.option("--json", "as_json", is_flag=True, help="Print the document of the HTTP interface.")
@click.pass_context
def alerts(context: click.Context, everything: bool, as_json: bool) -> None:
    """Show the alerts that stand, and what to do about each. Times are UTC."""
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
    found = target.client().get("/alerts" if everything else "/alerts?state=standing")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no alerts" if everything else "no alert stands")
    for alert in found:
        click.echo("\n".join(_lines(alert)))


@alerts.command("test")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the outcomes.")
@click.pass_obj
def send_test(target: Target, timeout: float) -> None:
    """Send a test alert through every channel, and say of each whether it worked."""
    client = target.client()
    notice = client.post("/alerts/test")["notice"]
    end = time.monotonic() + timeout
    outcome = client.get(f"/alerts/test/{notice}")
    while not outcome["done"] and time.monotonic() < end:
        time.sleep(_POLL)
        outcome = client.get(f"/alerts/test/{notice}")
    channels = outcome["channels"]
    for channel in channels:
        words = channel["detail"] or "no outcome yet"
        click.secho(words, fg="green" if channel["state"] == "sent" else "red")
    if not channels:
        raise StopError("the notifier has not taken the test; see `levibotctl status notifier`")
    if any(channel["state"] != "sent" for channel in channels):
        raise StopError("not every channel works; `levibotctl logs notifier` says more")


def _lines(alert: Mapping[str, Any]) -> Iterable[str]:
    severity = f"{alert['severity']:<8}"
    over = alert["state"] == "cleared"
    word = "over    " if over else "standing"
    severity = severity if over else click.style(severity, fg=_COLOURS[alert["severity"]])
    times = f", {alert['raises']} times, last {_utc(alert['last_at'])}" if alert["raises"] > 1 else ""
    until = f" to {_utc(alert['cleared_at'])} ({alert['cleared_by']})" if alert["cleared_at"] else ""
    yield f"{_utc(alert['raised_at'])}{until}  {word}  {severity}  {click.style(alert['key'], bold=True)}{times}"
    yield f"    {alert['message']}"
    if alert["remedy"] and alert["state"] == "standing":
        yield f"    → {alert['remedy']}"


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
