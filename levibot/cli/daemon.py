"""Commands about the daemon as a whole, while it runs."""

from __future__ import annotations

import time

import click

from levibot.cli.config import load_checked
from levibot.cli.leaving import leaving, leaving_options
from levibot.cli.readiness import outcome, tell_failed_markets, wait_until_ready
from levibot.cli.target import Target, reasoned


@click.command()
@leaving_options
@reasoned
@click.pass_obj
def reload(target: Target, flatten: bool, keep: bool) -> None:
    """Apply what changed in the configuration file.

    Refused as a whole if a symbol that it removes has an open position, unless --flatten or --keep is given.
    """
    answer = target.client().post("/daemon/reload", **leaving(flatten=flatten, keep=keep))
    for what in ("added", "removed", "changed", "restarted"):
        if answer.get(what):
            click.echo(f"{what}: {', '.join(answer[what])}")
    click.echo(answer.get("message") or "reloaded")


@click.command()
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the engines.")
@reasoned
@click.pass_obj
def upgrade(target: Target, timeout: float) -> None:
    """Restart the whole daemon on the code that is installed now. Positions are kept."""
    load_checked(target)  # by the new code: what it refuses must not end the old daemon
    click.echo(target.client().post("/daemon/upgrade").get("message") or "the daemon restarts")
    asked = time.monotonic()

    def is_new(daemon: dict[str, float]) -> bool:
        return daemon["uptime_seconds"] < time.monotonic() - asked

    document = wait_until_ready(target, is_new, lambda: None, timeout)
    click.echo(outcome(document, time.monotonic() - asked))
    tell_failed_markets(document)
