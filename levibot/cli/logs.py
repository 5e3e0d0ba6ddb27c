"""`logs`: the log of one worker, for people."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from levibot.cli.log_files import LogFiles, logged_workers
from levibot.cli.names import worker_name
from levibot.cli.target import Target, complete_symbol
from levibot.errors import ConfigError, UnknownSymbolError
from levibot.symbols import on_disk, resolve

_OTHERS = ("supervisor", "feed", "broker", "notifier", "altdata")
_ENGINE = "engine-"
_POOL = ("inference-", "tft-")
_LEVEL_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}
_OWN_FIELDS = ("ts", "level", "symbol", "event", "exception", "traceback")


@click.command()
@click.argument("worker", metavar="SYMBOL", shell_complete=complete_symbol)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(min=0), help="Lines to begin with."
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are in the file.")
@click.pass_obj
def logs(target: Target, worker: str, follow: bool, lines: int, as_json: bool) -> None:
    """Show the log of an engine, or of another process.

    SYMBOL is a symbol, or supervisor, feed, broker, inference-0, tft-0, notifier, altdata; or the name of a
    process, as `ps` shows it: levi-infer-0. Times are UTC.
    """
    directory = target.running().log_dir
    name = _worker_name(target, directory, worker)
    files = LogFiles(directory, name)
    shown = files.follow(lines) if follow else files.last(lines)
    if not follow and lines and not shown:
        others = sorted(logged_workers(directory) - {name})
        have = f"logs that there are: {', '.join(map(_as_typed, others))}" if others else f"nor any in {directory}"
        click.echo(f"no lines of {worker} yet; {have}", err=True)
    for line in shown:
        _show(line, as_json)


def _worker_name(target: Target, directory: Path, written: str) -> str:
    name = worker_name(written)
    if name in _OTHERS or name.startswith(_POOL):
        return name
    try:
        return _engine_name(target, directory, name)
    except UnknownSymbolError as error:
        pool = sorted(worker for worker in logged_workers(directory) if worker.startswith(_POOL))
        raise UnknownSymbolError(f"{error}; other logs: {', '.join([*_OTHERS, *pool])}") from error


def _engine_name(target: Target, directory: Path, written: str) -> str:
    logged = [_symbol(name) for name in sorted(logged_workers(directory)) if name.startswith(_ENGINE)]
    try:
        return _ENGINE + on_disk(resolve(written, logged))
    except UnknownSymbolError:
        from levibot.config_file import load

        try:
            configured = load(target.config_path, os.environ).config.symbols
        except ConfigError:  # of a file that is no TOML the user was warned already
            configured = ()
        return _ENGINE + on_disk(resolve(written, dict.fromkeys([*logged, *configured]), "configured or logged"))


def _as_typed(worker: str) -> str:
    return _symbol(worker) if worker.startswith(_ENGINE) else worker


def _symbol(worker: str) -> str:
    return worker.removeprefix(_ENGINE).replace("-", "/").replace("_", ":")


def _show(line: bytes, as_json: bool) -> None:
    text = line.decode(errors="replace")
    click.echo(text if as_json else _pretty(text))


def _pretty(line: str) -> str:
    try:
        record = json.loads(line)
        time, level, event = record["ts"], record["level"], record["event"]
    except (ValueError, KeyError, TypeError):
        return line  # half a line that a full disk left, or something that a library wrote
    fields = " ".join(f"{key}={_value(value)}" for key, value in record.items() if key not in _OWN_FIELDS)
    parts = [
        click.style(f"{time[:10]} {time[11:23]}", dim=True),
        click.style(f"{level:<8}", fg=_LEVEL_COLOURS.get(level)),
        *([record["symbol"]] if record.get("symbol") else []),
        click.style(event, bold=True),
        *([fields] if fields else []),
    ]
    trace = record.get("exception") or record.get("traceback")
    return " ".join(parts) + ("\n" + _indented(str(trace)) if trace else "")


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not any(c.isspace() for c in value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
