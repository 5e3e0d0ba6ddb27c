"""What a download shows: how far it has come, what it has, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from levibot.cli.view import stdout_console
from levibot.market.download import Downloaded
from levibot.market.gaps import Hole

Reporters = tuple[Callable[[str, int, int], None], Callable[[str], None]]

_GAPS_SHOWN = 20  # of each symbol; --json has all
_TENTHS = 10


@contextmanager
def progress(symbols: Sequence[str], *, quiet: bool) -> Iterator[Reporters]:
    """Show the days of each symbol: bars on a terminal, a line for each tenth elsewhere."""
    console = Console(stderr=True)
    if quiet:
        yield (lambda _symbol, _done, _total: None), (lambda _text: None)
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("days"),
            TimeRemainingColumn(),
            console=console,
        ) as display:
            tasks = {symbol: display.add_task(symbol, total=None) for symbol in symbols}

            def report(symbol: str, done: int, total: int) -> None:
                display.update(tasks[symbol], completed=done, total=total)

            yield report, lambda text: display.console.print(text, style="yellow", highlight=False)
    else:
        yield _lines(), lambda text: click.echo(text, err=True)


def print_result(results: Sequence[Downloaded], exchange: str, folder: Path, *, as_json: bool) -> None:
    """Say what there is of each symbol, and each gap."""
    if as_json:
        symbols = {result.symbol: _document(result) for result in results}
        click.echo(json.dumps({"exchange": exchange, "folder": str(folder), "symbols": symbols}))
        return
    table = Table(
        "symbol", "bars", "from", "until", "new days", "gaps", "no trades", box=None, padding=(0, 2, 0, 0)
    )
    for result in results:
        table.add_row(
            result.symbol,
            f"{result.bars:,}",
            "-" if result.from_ms is None else _time(result.from_ms),
            _time(result.until_ms),
            f"{result.fetched_days:,}",
            str(len(result.gaps)),
            f"{result.without_trades:,}",
        )
    stdout_console().print(table)
    for result in results:
        _print_gaps(result)
    click.echo(f"{folder}: set [feed] path to it to replay, or give it to levibotctl train --candles")
    for result in results:
        if result.error:
            click.echo(f"Error: {result.symbol}: {result.error}; run the same command again to go on", err=True)


def _print_gaps(result: Downloaded) -> None:
    for gap in result.gaps[:_GAPS_SHOWN]:
        asked_ms = result.asked_ms.get(gap.from_ms)
        why = (
            "not asked for yet"
            if asked_ms is None
            else f"the exchange had no bars when asked on {_time(asked_ms)}"
        )
        click.echo(f"gap: {result.symbol} from {_time(gap.from_ms)}, {gap.missing:,} min: {why}")
    if result.asked_ms:
        click.echo(f"gap: {result.symbol}: --again asks for them again; recent ones always are")
    if (more := len(result.gaps) - _GAPS_SHOWN) > 0:
        click.echo(f"gap: {result.symbol} and {more} more; --json lists them all")


def _lines() -> Callable[[str, int, int], None]:
    said: dict[str, int] = {}

    def report(symbol: str, done: int, total: int) -> None:
        tenth = done * _TENTHS // total
        if said.get(symbol) != tenth:
            said[symbol] = tenth
            click.echo(f"{symbol}: {done} of {total} days", err=True)

    return report


def _document(result: Downloaded) -> dict[str, object]:
    return {
        "bars": result.bars,
        "from": None if result.from_ms is None else _time(result.from_ms),
        "until": _time(result.until_ms),
        "new_days": result.fetched_days,
        "without_trades": result.without_trades,
        "gaps": [_gap(gap, result.asked_ms.get(gap.from_ms)) for gap in result.gaps],
        "error": result.error or None,
    }


def _gap(gap: Hole, asked_ms: int | None) -> dict[str, object]:
    asked = None if asked_ms is None else _time(asked_ms)
    return {"from": _time(gap.from_ms), "minutes": gap.missing, "asked": asked}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
