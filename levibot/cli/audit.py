"""`audit`: what operators did."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from levibot.api.client import NotRunningError
from levibot.cli.target import Target


@click.command()
@click.option("-n", "count", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Newest entries.")
@click.option("--json", "as_json", is_flag=True, help="Print the document of the HTTP interface.")
@click.pass_obj
def audit(target: Target, count: int, as_json: bool) -> None:
    """Show what operators did, when, and why.

    Times are UTC. Works without a running daemon too.
    """
    try:
        found = target.client().get(f"/audit?count={count}")
    except NotRunningError:
        found = _read(target, count)
    if as_json:
        click.echo(json.dumps(found, indent=2))
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

    path = load(target.config_path, os.environ).config.state_dir / AUDIT_FILE
    return {"entries": read_entries(path, count), "unwritten": 0, "lost": 0}


def _line(entry: Mapping[str, Any]) -> str:
    who = entry["who"]
    name = f"{who['name']} ({who['way']}{' ' + who['address'] if who.get('address') else ''})"
    options = "".join(f" {key}={value}" for key, value in entry["options"].items())
    reason = f": {entry['reason']}" if entry["reason"] else ""
    outcome = "" if entry["outcome"] == "done" else f"  {click.style(entry['outcome'], fg='yellow')}"
    at = entry["at"][:19].replace("T", " ")
    return f"{at}  {name}  {entry['action']} {entry['subject']}{options}{reason}{outcome}"
