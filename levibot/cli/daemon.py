"""Commands about the daemon as a whole, while it runs."""

from __future__ import annotations

import time

import click

from levibot.cli.config import load_checked
from levibot.cli.readiness import outcome, tell_failed_markets, wait_until_ready
from levibot.cli.target import Target
from levibot.errors import StopError


@click.command()
@click.pass_obj
def reload(target: Target) -> None:
    """Apply what changed in the configuration file."""
    answer = target.client().post("/daemon/reload")
    for what in ("added", "removed", "changed", "restarted"):
        if answer.get(what):
            click.echo(f"{what}: {', '.join(answer[what])}")
    click.echo(answer.get("message") or "reloaded")


@click.command()
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the engines.")
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


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--reason", default="operator", show_default=True, help="Kept with the switch, and shown.")
@click.pass_obj
def kill(target: Target, switch: str, reason: str) -> None:
    """Kill switch: while it is on, nothing new is opened. It survives restarts."""
    answer = target.client().post("/live/kill", on="true" if switch == "on" else "false", reason=reason)
    if bool(answer["kill_switch"]) != (switch == "on"):
        raise StopError("the daemon did not set the kill switch; see `levibotctl logs supervisor`")
    if switch == "on":
        click.echo(_switched_on(reason, answer["reason"]))
    elif answer["active"]:
        click.echo("kill switch off")
    else:
        click.echo(f"kill switch off; risk still holds back: {answer['reason']}")


def _switched_on(given: str, holds: str) -> str:
    if holds == given:
        return f"kill switch on: {holds}"
    return f"the kill switch was on already, and its first reason stays: {holds}"


@click.command("reset-day")
@click.pass_obj
def reset_day(target: Target) -> None:
    """End the daily stop before midnight.

    Positions may be opened again. The day's loss counts anew, from the equity of now: as much may be lost once
    more.
    """
    click.echo(target.client().post("/risk/reset_day")["message"])
