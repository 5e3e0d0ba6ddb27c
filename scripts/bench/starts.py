"""A cold start by `levibotctl start`, and what of it is importing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from scripts.bench.children import ROOT
from scripts.bench.figures import RUNS, Figure
from scripts.bench.live import open_daemon

ENGINES = 15
DAEMON_IMPORTS = "levibot.supervisor.daemon, levibot.api.app"
CLIENT_IMPORTS = "levibot.cli"


def rows() -> Iterator[Figure]:
    """Figures of the start."""
    interpreter = [_seconds_of("pass") for _ in range(RUNS)]
    client = [_seconds_of(f"import {CLIENT_IMPORTS}") for _ in range(RUNS)]
    daemon = [_seconds_of(f"import {DAEMON_IMPORTS}") for _ in range(RUNS)]
    started, stopped, status = [], [], []
    for _ in range(RUNS):
        settings: dict[str, Any] = {"engine": {"strategy": "sma_cross"}}
        with open_daemon(ENGINES, 4.0, **settings) as live:
            started.append(_timed(live.levibotctl, "start"))
            live.wait_until_ready(1.0)
            status.append(_timed(live.levibotctl, "status"))
            stopped.append(_timed(live.levibotctl, "stop"))
    yield Figure(f"levibotctl start, {ENGINES} engines, cold → all ready", tuple(started), "s", 1.5)
    yield Figure("of it: the interpreter starts, twice", tuple(2 * seconds for seconds in interpreter), "s")
    importing = [c + d - 2 * i for c, d, i in zip(client, daemon, interpreter, strict=True)]
    yield Figure("of it: importing, by levibotctl and by the daemon", tuple(importing), "s", beside="timed alone")
    yield Figure("levibotctl status", tuple(status), "s", beside="the interpreter's start included")
    yield Figure(f"levibotctl stop, {ENGINES} engines", tuple(stopped), "s")


def _timed(call: Any, *arguments: str) -> float:
    started = time.monotonic()
    call(*arguments)
    return time.monotonic() - started


def _seconds_of(code: str) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.monotonic() - started
