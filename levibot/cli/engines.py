"""Commands about single engines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from levibot.api.client import ApiClient, ApiError, symbol_path
from levibot.cli.app import NO_SUCH_SYMBOL, OK, report
from levibot.cli.leaving import leaving, leaving_options
from levibot.cli.names import serves_all, worker_name
from levibot.cli.target import Target, complete_symbol, reasoned
from levibot.holdings import in_words

_INTERRUPTS = {
    "feed": "no symbol has market data until it is back, in seconds; nothing is opened and no stop triggered",
    "broker": "no order is carried out and no stop is triggered until it is back, in about a second; none is lost",
    "inference": "predictions of this process; strategies that get none open nothing meanwhile",
    "tft": "predictions of this process; strategies do without them meanwhile",
    "notifier": "alerts wait in the outbox until it is back, and are sent then",
    "altdata": "what was known last stays known, and ages",
}
_symbols = click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True, shell_complete=complete_symbol)


def for_each(client: ApiClient, verb: str, symbols: Sequence[str], **parameters: str) -> int:
    """Carry out `verb` on each symbol, also if one is refused; the exit code."""
    return worst([_carry_out(client, verb, symbol, parameters) for symbol in symbols])


def worst(codes: Sequence[int]) -> int:
    """Exit code of several commands."""
    failed = [code for code in codes if code != OK]
    if not failed:
        return OK
    return NO_SUCH_SYMBOL if all(code == NO_SUCH_SYMBOL for code in failed) else 1


def _carry_out(client: ApiClient, verb: str, symbol: str, parameters: Mapping[str, str]) -> int:
    try:
        answer = client.post(symbol_path(f"/engines/{verb}", symbol), **parameters)
    except ApiError as error:
        return report(error)
    holding = answer.get("holding")
    remains = f"; what remains: {in_words(holding, ends=False)}" if holding else ""
    message = answer.get("message")
    click.echo(message or f"{answer['symbol']} {answer['status']}{remains}")
    return OK


@click.command()
@click.argument("names", metavar="SYMBOL...", nargs=-1, required=True, shell_complete=complete_symbol)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before what serves all symbols is restarted.")
@reasoned
@click.pass_context
def restart(context: click.Context, names: tuple[str, ...], yes: bool) -> None:
    """Restart engines, or those that serve all. Costs nothing of their restart budget.

    Those are feed, broker, inference-0, tft-0, notifier and altdata.
    """
    client = _client(context)
    codes = []
    for name in names:
        worker = worker_name(name)
        codes.append(
            _restart_shared(client, worker, yes) if serves_all(worker) else for_each(client, "restart", [name])
        )
    context.exit(worst(codes))


def _restart_shared(client: ApiClient, worker: str, yes: bool) -> int:
    interrupts = f"restarting {worker} interrupts: {_INTERRUPTS[worker.partition('-')[0]]}"
    if not yes and sys.stdin.isatty() and not click.confirm(f"{interrupts}. Go on?"):
        return OK
    try:
        answer = client.post(f"/workers/restart/{worker}")
    except ApiError as error:
        return report(error)
    click.echo(f"{answer['worker']} {answer['status']}")
    return OK


@click.command()
@_symbols
@reasoned
@click.pass_context
def pause(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Open no new positions. Market data, exits and stops go on."""
    context.exit(for_each(_client(context), "pause", symbols))


@click.command()
@_symbols
@reasoned
@click.pass_context
def resume(context: click.Context, symbols: tuple[str, ...]) -> None:
    """End a pause."""
    context.exit(for_each(_client(context), "resume", symbols))


@click.command()
@_symbols
@reasoned
@click.pass_context
def add(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Trade more symbols, until the next reload."""
    context.exit(for_each(_client(context), "add", symbols))


@click.command()
@_symbols
@leaving_options
@reasoned
@click.pass_context
def remove(context: click.Context, symbols: tuple[str, ...], flatten: bool, keep: bool) -> None:
    """Trade symbols no more, until the next reload.

    Refused for a symbol with an open position, unless --flatten or --keep is given.
    """
    parameters = leaving(flatten=flatten, keep=keep)
    context.exit(for_each(_client(context), "remove", symbols, **parameters))


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=complete_symbol)
@click.option("--all", "everything", is_flag=True, help="All workers, feed and broker too.")
@reasoned
@click.pass_context
def reset(context: click.Context, symbols: tuple[str, ...], everything: bool) -> None:
    """Give engines their whole restart budget back.

    Those that had spent it are started.
    """
    if bool(symbols) == everything:
        raise click.UsageError("Name one or more symbols, or give --all.")
    if not everything:
        context.exit(for_each(_client(context), "reset", symbols))
    _client(context).post("/engines/reset")
    click.echo("all workers reset")


def _client(context: click.Context) -> ApiClient:
    target: Target = context.obj
    return target.client()
