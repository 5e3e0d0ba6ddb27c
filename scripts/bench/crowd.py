"""Two hundred engines under one supervisor."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from scripts.bench.figures import LONG, Figure
from scripts.bench.live import open_daemon

ENGINES = 200
SECONDS = 300.0 if LONG else 30.0


def rows() -> Iterator[Figure]:
    """Figures of many engines, of one long run."""
    with open_daemon(ENGINES, 1.0, feed={"history_bars": 100}) as daemon:
        started = time.monotonic()
        daemon.start()
        daemon.wait_until_ready(120)
        yield Figure(f"{ENGINES} engines: start → all ready", (time.monotonic() - started,), "s", 5)
        supervisor = psutil.Process(daemon.pid)
        before, began = sum(supervisor.cpu_times()[:2]), time.monotonic()
        time.sleep(SECONDS)
        elapsed = time.monotonic() - began
        percent = 100 * (sum(supervisor.cpu_times()[:2]) - before) / elapsed
        status = daemon.status()
        tree = daemon.tree()
        unique = sum(process.memory_full_info().uss for process in tree) / 1e6
    restarts = sum(engine["restarts"] for engine in status["engines"])
    note = f"1 tick/s each, over {SECONDS:g} s"
    yield Figure(f"{ENGINES} engines: CPU of the supervisor", (percent,), "% of a core", 10, beside=note)
    yield Figure(
        f"{ENGINES} engines: alive after {SECONDS:g} s",
        (float(status["running"]),),
        "",
        ENGINES,
        "at least",
        f"{restarts} restarts",
    )
    yield Figure(
        f"{ENGINES} engines: unique memory of all processes", (unique,), "MB", beside=f"{len(tree)} processes"
    )
