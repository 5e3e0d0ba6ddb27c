"""`run` and `start`: the daemon in the foreground, or in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from levibot.api.client import NotRunningError
from levibot.cli.engines import for_each
from levibot.cli.readiness import AccountRefusedError, outcome, tell_failed_markets, wait_until_ready
from levibot.cli.target import Target, complete_symbol, reasoned
from levibot.errors import ConfigError, StopError
from levibot.locations import make_private

if TYPE_CHECKING:
    from levibot.config import Config

_LAST_LINES = 15
_END_PATIENCE = 30.0  # seconds that the end of a daemon may take
_BROKER_LOG = "`levibotctl logs broker`"


@click.command()
@click.option("--table/--no-table", default=None, help="Live table; default: on a terminal.")
@click.pass_obj
def run(target: Target, table: bool | None) -> None:
    """Run the daemon in the foreground; Ctrl-C stops it."""
    command = _daemon_command(target)
    if table is not None:
        command.append("--table" if table else "--no-table")
    sys.stdout.flush()
    # Not in this process: every worker would import the console script again as its main module.
    os.execv(sys.executable, command)


@click.command()
@click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=complete_symbol)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the engines.")
@reasoned
@click.pass_context
def start(context: click.Context, symbols: tuple[str, ...], timeout: float) -> None:
    """Start the daemon in the background, or stopped engines.

    Returns when every engine is ready, but for those whose market cannot be opened, or says which is not and why.
    """
    target: Target = context.obj
    if symbols:
        context.exit(for_each(target.client(), "start", symbols))
    if target.reason:
        raise click.UsageError("--reason goes with SYMBOL.")
    _start_daemon(target, timeout)


def _start_daemon(target: Target, timeout: float) -> None:
    output = target.locations.log_dir / "daemon.out"
    _refuse_second(target)
    config = _checked(target)
    timeout += _announce(config)
    try:
        make_private(output.parent)
    except OSError as error:
        remedy = "correct supervisor.data_dir, or who owns it"
        raise StopError(f"{output.parent}: cannot be made ({error.strerror}); {remedy}") from error
    began = time.monotonic()
    with output.open("ab") as stream:
        offset = stream.tell()
        process = subprocess.Popen(
            [*_daemon_command(target), "--no-table"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )

    def check() -> None:
        if process.poll() is not None:
            raise StopError(_last_words(target, process.returncode, output, offset))

    try:
        document = wait_until_ready(target, lambda daemon: daemon["pid"] == process.pid, check, timeout)
    except AccountRefusedError as error:
        _end(process)
        raise StopError(f"{error}\nnothing is left running; see {_BROKER_LOG}") from error
    took = time.monotonic() - began
    from levibot.cli.view import print_status

    print_status(document)
    address = document["daemon"].get("api", {}).get("address")
    reached = f", HTTP on {address}" if address else ""
    click.echo(f"{outcome(document, took)}; the daemon runs as process {process.pid}{reached}")
    tell_failed_markets(document)


def _checked(target: Target) -> Config:
    """The settings, if nothing is wrong with them that can be known before anything is started."""
    from levibot.cli.config import load_without_strategies, refuse_faults
    from levibot.cli.config_checks import missing_key

    config = load_without_strategies(target).config
    refuse_faults(config)
    if missing := list(missing_key(config, os.environ)):
        raise ConfigError("\n".join(missing))
    return config


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the daemon as `levibotctl stop` would."""
    process.terminate()
    try:
        process.wait(_END_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers end with it
        process.wait()


def _announce(config: Config) -> float:
    """Say with what money it trades, and which model it makes first; the seconds that this may take."""
    from levibot.live_notice import live_notice
    from levibot.supervisor import first_model

    if notice := live_notice(config):
        click.echo(notice)
    if not first_model.is_due(config):
        return 0.0
    click.echo(first_model.announcement(config))
    return first_model.TIME_LIMIT


def _daemon_command(target: Target) -> list[str]:
    path = target.locations.config_path
    return [sys.executable, "-m", "levibot", *(["-c", str(path)] if path is not None else [])]


def _refuse_second(target: Target) -> None:
    try:
        pid = target.client().get("/engines/status")["daemon"]["pid"]
    except NotRunningError:
        return
    raise StopError(f"already running as process {pid}; see `levibotctl status`, or `levibotctl stop` it first")


def _last_words(target: Target, code: int, output: Path, offset: int) -> str:
    from levibot.config_file import load
    from levibot.exchange.names import check_source

    config = load(target.config_path, os.environ).config  # what is wrong in it is the likeliest reason
    check_source(config.feed.source, config.exchange_id)
    with output.open("rb") as stream:
        stream.seek(offset)
        lines = stream.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the daemon {ended} before it was ready. It said:\n{said}\nsee {output}"
