"""`stop`: engines, or the whole daemon."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import Any

import click

from levibot.api.client import ApiError, NotRunningError
from levibot.cli.engines import for_each
from levibot.cli.target import Target, complete_symbol
from levibot.errors import StopError


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=complete_symbol)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the daemon's end.")
@click.pass_context
def stop(context: click.Context, symbols: tuple[str, ...], timeout: float) -> None:
    """Stop engines, or without SYMBOL everything. Says what positions remain."""
    target: Target = context.obj
    if symbols:
        context.exit(for_each(target.client(), "stop", symbols))
    _stop_daemon(target, timeout)


def _stop_daemon(target: Target, timeout: float) -> None:
    client = target.client()
    document = client.get("/engines/status")
    pid = int(document["daemon"]["pid"])
    positions = held(document)
    try:
        process = os.pidfd_open(pid)  # from before the request, so that it is this process and no later one
    except ProcessLookupError:
        process = -1
    try:
        positions = client.post("/daemon/stop").get("positions", positions)
    except NotRunningError:
        pass  # it was on its way out
    except ApiError as error:
        if error.code != 503:  # stopping already
            raise
    if process >= 0:
        try:
            ended = select.select([process], [], [], timeout)[0]
        finally:
            os.close(process)
        if not ended:
            raise StopError(f"the daemon (process {pid}) still stops after {timeout:g} s; see its log")
    click.echo(f"stopped; {remaining(positions)}")


def held(document: Mapping[str, Any]) -> dict[str, float]:
    """Positions that a status document tells, by symbol: signed base amounts."""
    traded = {engine["symbol"]: engine["position"] for engine in document["engines"] if engine["position"]}
    return {**traded, **document["untraded_positions"]}


def remaining(positions: Mapping[str, object]) -> str:
    """What is left in the books, in words."""
    if not positions:
        return "no positions remain"
    listed = ", ".join(f"{symbol} {float(str(quantity)):+g}" for symbol, quantity in positions.items())
    return f"positions remain, with their protective orders kept for the next start: {listed}"
