"""`audit`: what operators did."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from levibot.api.client import NotRunningError
from levibot.cli.target import Target

_MOST = 1_000  # that the daemon tells at once
_COLUMNS = ("time", "name", "way", "address", "action", "subject", "options", "reason", "outcome")


@click.command()
@click.option(
    "-n", "count", type=click.IntRange(1, _MOST), help="Newest entries.  [default: 50; all with --since]"
)
@click.option("--since", help="UTC day or time, ISO 8601; entries from then on.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV for spreadsheets.")
@click.option("--json", "form", flag_value="json", help="Print the document of the HTTP interface.")
@click.pass_obj
def audit(target: Target, count: int | None, since: str | None, form: str | None) -> None:
    """Show what operators did, when, and why.

    Also stops that risk set or cleared by itself, and which models were promoted, rolled back or removed; orders
    that the daemon made are in `levibotctl orders --all`.
    Times are UTC. Works without a running daemon too.
    """
    count = count or (50 if since is None else _MOST)
    try:
        found = target.client().get(f"/audit?count={count}")
    except NotRunningError:
        found = _read(target, count)
    if since is not None:
        from levibot.market.source import parse_time

        first = datetime.fromtimestamp(parse_time(since, "--since") / 1000, UTC)
        found["entries"] = [entry for entry in found["entries"] if datetime.fromisoformat(entry["at"]) >= first]
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if form == "csv":
        from levibot.cli.export import print_csv

        print_csv(map(_row, found["entries"]), _COLUMNS)
        return
    for entry in found["entries"]:
        click.echo(_line(entry))
    if not found["entries"]:
        click.echo("nothing was done yet")
    if found["unwritten"]:
        click.echo(f"Warning: the disk has not taken {found['unwritten']} of these yet; make room", err=True)
    if found["lost"]:
        click.echo(f"Warning: {found['lost']} entries were lost to a full disk", err=True)


def _read(target: Target, count: int) -> dict[str, Any]:
    from levibot.config_file import load
    from levibot.supervisor.audit import AUDIT_FILE, read_entries

    config = load(target.config_path, os.environ).config
    entries = read_entries(config.state_dir / AUDIT_FILE, config.models_dir, count)
    return {"entries": entries, "unwritten": 0, "lost": 0}


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    who = {name: entry["who"].get(name) for name in ("name", "way", "address")}
    return {**who, "time": entry["at"], **{name: entry[name] for name in _COLUMNS[4:]}}


def _line(entry: Mapping[str, Any]) -> str:
    who = entry["who"]
    name = f"{who['name']} ({who['way']}{' ' + who['address'] if who.get('address') else ''})"
    options = "".join(f" {key}={value}" for key, value in entry["options"].items())
    reason = f": {entry['reason']}" if entry["reason"] else ""
    outcome = "" if entry["outcome"] == "done" else f"  {click.style(entry['outcome'], fg='yellow')}"
    at = entry["at"][:19].replace("T", " ")
    return f"{at}  {name}  {entry['action']} {entry['subject']}{options}{reason}{outcome}"
