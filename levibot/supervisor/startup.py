"""From the command line to a running daemon, and to the exit code."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from levibot.supervisor import forkserver
from levibot.supervisor.handover import run_again, take_keys
from levibot.supervisor.notify import ServiceManager, take_variables

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Entry point of ``python -m levibot``. Exit codes: 0 stopped as asked, 1 could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m levibot", description="The LeviBot daemon, in the foreground."
    )
    parser.add_argument("-c", "--config", type=Path, help="configuration file")
    parser.add_argument("--table", action=argparse.BooleanOptionalAction, default=sys.stdout.isatty())
    arguments = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))  # nothing has begun yet that would have to be ended
    command = [sys.executable, "-m", "levibot", *sys.argv[1:]]
    keys = take_keys(os.environ, command)
    service = take_variables(os.environ)
    forkserver.prestart()
    if _run(arguments.config, service, keys, table=arguments.table):
        run_again(command, {**os.environ, **service}, keys)


def _run(config_path: Path | None, service: dict[str, str], keys: dict[str, str], *, table: bool) -> bool:
    """Run a daemon to its end; tell whether it wants to be run again, on the code as it is then."""
    # Half a second of imports, while the forkserver does its own on another core.
    from levibot.config_file import load
    from levibot.errors import LeviBotError
    from levibot.exchange.credentials import find_credentials
    from levibot.exchange.names import check_source
    from levibot.live_notice import live_notice
    from levibot.supervisor import first_model
    from levibot.supervisor.daemon import Daemon
    from levibot.supervisor.lock import acquire

    try:
        loaded = load(config_path, os.environ)
        check_source(loaded.config.feed.source, loaded.config.exchange_id)
        if loaded.config.mode == "live":
            find_credentials(loaded.config.live, {**os.environ, **keys})
        lock = acquire(loaded.config.supervisor.data_dir / "supervisor.lock")
        if notice := live_notice(loaded.config):
            print(notice, flush=True)
        _become_subreaper()
        _allow_many_descriptors()
        if first_model.is_due(loaded.config):
            told = ServiceManager(service, lambda error: print(f"levibot: {error}", file=sys.stderr))
            with told.slow(first_model.announcement(loaded.config), first_model.TIME_LIMIT):
                first_model.train(loaded)
        again = asyncio.run(Daemon(loaded, service, keys, table=table).run())
        lock.release()
    except LeviBotError as error:
        print(f"levibot: {error}", file=sys.stderr)
        sys.exit(1)
    return again


def _allow_many_descriptors() -> None:
    """Each worker takes about six; the usual soft limit of 1024 is there for programs that use select."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _become_subreaper() -> None:
    """Inherit what workers leave behind, and the workers themselves if the forkserver dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
