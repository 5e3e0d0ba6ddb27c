"""`kill`: stop opening positions, and close them if that is wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from levibot.api.client import NotRunningError
from levibot.cli.target import Target
from levibot.errors import StopError
from levibot.holdings import in_words

_POLL = 0.3
_AWAY = "the daemon is away; the kill switch is kept, and what is to be closed is closed when it is back"
_ACCOUNT = "account"  # no symbol: the books are not compared with the exchange yet


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--reason", default="operator", show_default=True, help="Kept with the switch, and in the audit.")
@click.option("--flatten", is_flag=True, help="Close all positions too.")
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    help="Seconds to wait, for the broker or until all is closed.",
)
@click.pass_obj
def kill(target: Target, switch: str, reason: str, flatten: bool, timeout: float) -> None:
    """Kill switch: while it is on, nothing new is opened. It survives restarts.

    `on` cancels resting entries, keeps stops and targets, returns when the broker has confirmed, and says what
    positions remain. With --flatten all positions are closed, by limit orders that go ever deeper; Ctrl-C leaves
    that going on in the daemon, as does --timeout, with exit code 1, and `off` ends it.
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
        _follow(target, answer, timeout)
        return
    answer = _confirmed(target, answer, timeout)
    if not answer["holdings_known"]:
        click.echo("no entry rests that the broker knows of; it has not told yet what positions remain")
        return
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


def _follow(target: Target, answer: Mapping[str, Any], timeout: float) -> None:
    """Show how the positions are closed, until they are or the time is over; Ctrl-C ends the showing alone."""
    said: dict[str, str] = {}
    end = time.monotonic() + timeout
    open_ = {holding["symbol"] for holding in answer["holdings"]}
    closed: set[str] = set()
    try:
        while not answer["flatten"]["done"]:
            left = answer["flatten"]["left"]
            _tell(said, left if left is not None else {"": "waits for the broker"})
            if left is not None:
                open_ |= left.keys() - {_ACCOUNT}
                _tell_closed(closed, open_ - left.keys())
            if time.monotonic() > end:
                raise StopError(_given_up(left, sorted(closed), timeout))
            time.sleep(_POLL)
            newer = _ask(target)
            if newer is None:
                _tell(said, {"": _AWAY})
            elif newer["flatten"] is None:
                raise StopError("the kill switch was released meanwhile; what is left stays open")
            else:
                answer = newer
    except KeyboardInterrupt:
        click.echo("\nthe daemon goes on to close; `levibotctl risk` shows it, `levibotctl kill off` ends it")
        return
    _tell_closed(closed, open_)
    dust = {holding["symbol"]: holding["quantity"] for holding in answer["holdings"]}
    named = ", ".join(f"{symbol} {quantity:+g}" for symbol, quantity in dust.items())
    click.echo(f"all is closed{f', but for dust: {named}' if dust else ''}; HALTED until `levibotctl kill off`")


def _tell(said: dict[str, str], words: Mapping[str, str]) -> None:
    """Say what is new of each symbol."""
    for symbol, why in words.items():
        if said.get(symbol) != why:
            click.echo(f"{symbol}: {why}" if symbol else why, err=not symbol)
            said[symbol] = why


def _tell_closed(closed: set[str], now: set[str]) -> None:
    for symbol in sorted(now - closed):
        click.echo(f"{symbol}: closed")
    closed |= now


def _given_up(left: Mapping[str, str] | None, closed: Sequence[str], timeout: float) -> str:
    """Why waiting has ended, and what can be done."""
    if left is None:
        what = "the broker has not said what is left"
    else:
        open_ = "; ".join(f"{symbol}: {why}" for symbol, why in left.items())
        what = f"closed: {', '.join(closed) or 'nothing'}; not closed: {open_}"
    return (
        f"not all is closed within {timeout:g} s; {what}. The daemon goes on to close (`levibotctl risk` shows it,"
        " `levibotctl kill off` ends it); what is not at the exchange, `levibotctl settle SYMBOL` writes off"
    )


def _ask(target: Target) -> Any:
    try:
        return target.client().get("/live/status")
    except NotRunningError:
        return None
