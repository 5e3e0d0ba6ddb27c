"""Commands about single engines."""

from __future__ import annotations

from collections.abc import Sequence

import click

from levibot.api.client import ApiClient, ApiError, symbol_path
from levibot.cli.app import NO_SUCH_SYMBOL, OK, report
from levibot.cli.target import Target, complete_symbol

_symbols = click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True, shell_complete=complete_symbol)


def for_each(client: ApiClient, verb: str, symbols: Sequence[str]) -> int:
    """Carry out `verb` on each symbol, also if one is refused; the exit code."""
    codes = [_carry_out(client, verb, symbol) for symbol in symbols]
    failed = [code for code in codes if code != OK]
    if not failed:
        return OK
    return NO_SUCH_SYMBOL if all(code == NO_SUCH_SYMBOL for code in failed) else 1


def _carry_out(client: ApiClient, verb: str, symbol: str) -> int:
    try:
        answer = client.post(symbol_path(f"/engines/{verb}", symbol))
    except ApiError as error:
        return report(error)
    position = answer.get("position")
    remains = f"; position {position:+g} remains" if position else ""
    message = answer.get("message")
    click.echo(message or f"{answer['symbol']} {answer['status']}{remains}")
    return OK


@click.command()
@_symbols
@click.pass_context
def restart(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Restart engines. Costs nothing of their restart budget."""
    context.exit(for_each(_client(context), "restart", symbols))


@click.command()
@_symbols
@click.pass_context
def pause(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Open no new positions. Market data, exits and stops go on."""
    context.exit(for_each(_client(context), "pause", symbols))


@click.command()
@_symbols
@click.pass_context
def resume(context: click.Context, symbols: tuple[str, ...]) -> None:
    """End a pause."""
    context.exit(for_each(_client(context), "resume", symbols))


@click.command()
@_symbols
@click.pass_context
def add(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Trade more symbols, until the next reload."""
    context.exit(for_each(_client(context), "add", symbols))


@click.command()
@_symbols
@click.pass_context
def remove(context: click.Context, symbols: tuple[str, ...]) -> None:
    """Trade symbols no more, until the next reload."""
    context.exit(for_each(_client(context), "remove", symbols))


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=complete_symbol)
@click.option("--all", "everything", is_flag=True, help="All workers, feed and broker too.")
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
