"""`close` and `settle`: positions that an operator ends, at the exchange or in the books alone."""

from __future__ import annotations

import re

import click

from levibot.cli.engines import for_each
from levibot.cli.target import Target, complete_symbol, reasoned

_PRICE = re.compile(r"\d{1,12}(\.\d{1,12})?")


@click.command()
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True, shell_complete=complete_symbol)
@click.option("--pause", is_flag=True, help="Pause the engines first: else they may enter again.")
@reasoned
@click.pass_context
def close(context: click.Context, symbols: tuple[str, ...], pause: bool) -> None:
    """Close positions, and go on to trade the symbols.

    By limit orders that go ever deeper. The engine may enter again at its next decision; --pause keeps it from
    that.
    """
    target: Target = context.obj
    context.exit(for_each(target.client(), "close", symbols, **({"pause": "true"} if pause else {})))


@click.command()
@click.argument("symbol", shell_complete=complete_symbol)
@click.option("--price", help="At which it was sold; 0: it is lost or was withdrawn. Default: the newest price.")
@click.option("--reason", required=True, help="Kept with the order that is booked, and in the audit.")
@click.pass_context
def settle(context: click.Context, symbol: str, price: str | None, reason: str) -> None:
    """Book what was sold or spent at the exchange by hand.

    For a position of which the exchange holds less than the books (`levibotctl risk` shows it): nothing is sent
    to the exchange. What is missing is taken from the position, as if it had been sold at PRICE, but for no more
    than what has come in there. If money alone is missing, it is booked as withdrawn. A late sale of ours for
    which the books hold too little is set aside. Refused if there is none of these, and on paper.
    """
    if price is not None and not _PRICE.fullmatch(price):
        raise click.UsageError(f"--price {price!r}: expected a number of 0 or more, as 3012.5")
    target: Target = context.obj
    target.reason = reason
    context.exit(for_each(target.client(), "settle", [symbol], **({"price": price} if price else {})))
