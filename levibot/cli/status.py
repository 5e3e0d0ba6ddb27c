"""`status`: what runs, and how."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from levibot.api.client import NotRunningError, symbol_path
from levibot.cli.names import serves_all
from levibot.cli.target import Target, complete_symbol
from levibot.errors import UnknownSymbolError

_REFRESH = 0.5


@click.command()
@click.argument("symbol", required=False, shell_complete=complete_symbol)
@click.option("--json", "as_json", is_flag=True, help="Print the document of the HTTP interface.")
@click.option("--watch", is_flag=True, help="Refresh twice a second until Ctrl-C.")
@click.pass_obj
def status(target: Target, symbol: str | None, as_json: bool, watch: bool) -> None:
    """Show what runs, and how; with SYMBOL all about one.

    That is the engines, what serves them (feed, broker, the inference pool and its model), the risk state
    and alerts.

    SYMBOL may also be feed, broker, inference-0, tft-0, notifier or altdata.
    """
    if watch and not as_json and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; add --json for one line each half second.")
    if watch:
        _watch(target, symbol, as_json)
    elif as_json:
        click.echo(json.dumps(_fetch(target, symbol), indent=2))
    else:
        from levibot.cli.view import print_entry, print_status

        document = _fetch(target, symbol)
        print_entry(document) if symbol else print_status(document)


def _fetch(target: Target, symbol: str | None) -> dict[str, Any]:
    client = target.client()
    document: dict[str, Any]
    if symbol is not None and serves_all(symbol):
        workers = {worker["worker"]: worker for worker in client.get("/engines/status")["workers"]}
        if symbol not in workers:
            raise UnknownSymbolError(f"no {symbol} runs (there are: {', '.join(workers)})")
        document = workers[symbol]
    else:
        document = client.get(symbol_path("/engines/status", symbol) if symbol else "/engines/status")
    return document


def _documents(target: Target, symbol: str | None) -> Iterator[dict[str, Any] | None]:
    """The document twice a second, None while the daemon is away."""
    while True:
        try:
            yield _fetch(target, symbol)
        except NotRunningError:
            yield None
        time.sleep(_REFRESH)


def _watch(target: Target, symbol: str | None, as_json: bool) -> None:
    if as_json:
        for document in _documents(target, symbol):
            if document is not None:
                click.echo(json.dumps(document))
        return
    from levibot.cli.view import away, entry_view, live, status_view

    with live() as display:
        for document in _documents(target, symbol):
            if document is None:
                display.update(away(), refresh=True)
            else:
                view = entry_view(document) if symbol else status_view(document)
                display.update(view, refresh=True)
