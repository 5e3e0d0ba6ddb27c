"""`kill`: stop opening positions, and close them if that is wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from levibot.api.client import NotRunningError
from levibot.cli.target import Target
from levibot.errors import StopError
from levibot.holdings import in_words

_POLL = 0.3
_AWAY = "the daemon is away; the kill switch is kept, and what is to be closed is closed when it is back"


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--reason", default="operator", show_default=True, help="Kept with the switch, and in the audit.")
@click.option("--flatten", is_flag=True, help="Close all positions too.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for the broker to confirm.")
@click.pass_obj
def kill(target: Target, switch: str, reason: str, flatten: bool, timeout: float) -> None:
    """Kill switch: while it is on, nothing new is opened. It survives restarts.

    `on` cancels resting entries, keeps stops and targets, returns when the broker has confirmed, and says what
    positions remain. With --flatten all positions are closed, by limit orders that go ever deeper; Ctrl-C leaves
    that going on in the daemon, and `off` ends it.
    """
    if flatten and switch == "off":
        raise click.UsageError("--flatten goes with `on`; `off` ends a flattening that goes on.")
    parameters = {"on": "true" if switch == "on" else "false", "reason": reason}
    answer = target.client().post("/live/kill", **parameters, **({"flatten": "true"} if flatten else {}))
    if bool(answer["kill_switch"]) != (switch == "on"):
        raise StopError("the daemon did not set the kill switch; see `levibotctl logs supervisor`")
    if switch == "on":
        _switched_on(target, answer, reason, timeout)
    elif answer["active"]:
        click.echo("kill switch off")
    else:
        click.echo(f"kill switch off; risk still holds back: {answer['held_back_by']}")


def _switched_on(target: Target, answer: Mapping[str, Any], given: str, timeout: float) -> None:
    holds = answer["reason"]
    first = "" if holds == given else " (it was on already, and its first reason stays)"
    click.echo(f"kill switch on: {holds}{first}")
    if answer["flatten"] is not None:
        _follow(target, answer)
        return
    answer = _confirmed(target, answer, timeout)
    click.echo("no entry rests" if answer["holdings"] else "no entry rests, and no position remains")
    for holding in answer["holdings"]:
        click.echo(f"remains: {in_words(holding, ends=False)}")


def _confirmed(target: Target, answer: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
    end = time.monotonic() + timeout
    while not answer["confirmed"]:
        if time.monotonic() > end:
            left = answer["entries_left"]
            what = f"entries that still rest: {', '.join(left)}" if left else "the broker does not answer"
            raise StopError(
                f"the kill switch is on, but not confirmed within {timeout:g} s; {what}. The daemon goes on to"
                " tell the broker; see `levibotctl logs broker`"
            )
        time.sleep(_POLL)
        answer = _ask(target) or answer
    return answer


def _follow(target: Target, answer: Mapping[str, Any]) -> None:
    """Show how the positions are closed, until they are; Ctrl-C ends the showing alone."""
    said = ""
    try:
        while not answer["flatten"]["done"]:
            left = answer["flatten"]["left"]
            words = "; ".join(f"{s}: {why}" for s, why in left.items()) if left else "waits for the broker"
            if words != said:
                click.echo(words)
                said = words
            time.sleep(_POLL)
            newer = _ask(target)
            if newer is None:
                words = _AWAY
                if words != said:
                    click.echo(words, err=True)
                    said = words
            elif newer["flatten"] is None:
                raise StopError("the kill switch was released meanwhile; what is left stays open")
            else:
                answer = newer
    except KeyboardInterrupt:
        click.echo("\nthe daemon goes on to close; `levibotctl risk` shows it, `levibotctl kill off` ends it")
        return
    dust = {holding["symbol"]: holding["quantity"] for holding in answer["holdings"]}
    named = ", ".join(f"{symbol} {quantity:+g}" for symbol, quantity in dust.items())
    click.echo(f"all is closed{f', but for dust: {named}' if dust else ''}; HALTED until `levibotctl kill off`")


def _ask(target: Target) -> Any:
    try:
        return target.client().get("/live/status")
    except NotRunningError:
        return None
