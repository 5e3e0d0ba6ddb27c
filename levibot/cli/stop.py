"""`stop`: engines, or the whole daemon."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping, Sequence
from typing import Any

import click

from levibot.api.client import ApiError, NotRunningError
from levibot.cli.engines import for_each
from levibot.cli.target import Target, complete_symbol, reasoned
from levibot.errors import StopError
from levibot.holdings import in_words


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=complete_symbol)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the daemon's end.")
@reasoned
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
    try:
        process = os.pidfd_open(pid)  # from before the request, so that it is this process and no later one
    except ProcessLookupError:
        process = -1
    try:
        document = client.post("/daemon/stop")
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
    click.echo(f"stopped; {remaining(document)}")


def remaining(document: Mapping[str, Any]) -> str:
    """What is left in the books when the daemon is gone, and what protects it, in words."""
    holdings: Sequence[Mapping[str, Any]] = document["holdings"]
    if not document["holdings_known"]:
        return "the broker had not told yet what positions remain: see `levibotctl positions`"
    if not holdings:
        return "no positions remain"
    return "\n  ".join(["positions remain:", *(in_words(holding, ends=True) for holding in holdings)])
