"""SIGKILL of an engine and of the supervisor, and what follows."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scripts.bench.figures import LONG, RUNS, Figure
from scripts.bench.live import LiveDaemon, open_daemon, wait_for

ENGINES = 5
ENGINE_KILLS = 30 if LONG else 10


@contextmanager
def trading_daemon() -> Iterator[LiveDaemon]:
    """A daemon whose engines are all ready and hold a position."""
    settings: dict[str, Any] = {
        "engine": {"strategy": "scripts.bench.strategies:BuyAndHold", "stop_loss": 0.9, "take_profit": 0},
        "risk": {"max_positions": ENGINES, "position_cap": 0.1, "correlated_exposure": 1.0},
        "feed": {"speed": 60.0},
    }
    with open_daemon(ENGINES, 30.0, **settings) as daemon:
        daemon.start()
        daemon.wait_until_ready()
        wait_for(lambda: all(engine["position"] for engine in daemon.status()["engines"]), "a position everywhere")
        yield daemon


def rows() -> Iterator[Figure]:
    """Figures of sudden deaths."""
    with trading_daemon() as daemon:
        deaths = [kill_engine(daemon, daemon.symbols[number % ENGINES]) for number in range(ENGINE_KILLS)]
        noticed, ready = zip(*deaths, strict=True)
        yield Figure("engine kill -9 → noticed", noticed, "ms", 10, beside="by the supervisor's log")
        seen = "seen from outside, over the HTTP interface"
        yield Figure("engine kill -9 → ready again with its position", ready, "ms", 100, beside=seen)
        yield from _supervisor_kills(daemon)


def kill_engine(daemon: LiveDaemon, symbol: str) -> tuple[float, float]:
    """Milliseconds from SIGKILL until it was noticed, and until the engine was ready with its position."""
    daemon.reset()
    before = daemon.engine(symbol)
    killed_wall, killed = time.time(), time.monotonic()
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        engine = daemon.engine(symbol)
        same = engine["position"] == before["position"]
        return engine["pid"] not in (None, before["pid"]) and bool(engine["ready"]) and same

    wait_for(back, f"{symbol} with its position of {before['position']:g}", every=0.002)
    ready = (time.monotonic() - killed) * 1000
    noticed = (daemon.event_time("worker_exited", before["worker"], killed_wall) - killed_wall) * 1000
    return noticed, ready


def _supervisor_kills(daemon: LiveDaemon) -> Iterator[Figure]:
    workers_gone, all_gone, copies, kept = [], [], [], 0
    for _ in range(RUNS):
        status = daemon.status()
        positions = {engine["symbol"]: engine["position"] for engine in status["engines"]}
        workers = {worker["pid"] for worker in [*status["engines"], *status["workers"]]}
        others = {process.pid for process in daemon.tree()} - workers - {daemon.pid}
        fates = Fates(workers | others)
        started = time.monotonic()
        os.kill(daemon.pid, signal.SIGKILL)
        ends = fates.wait(10)
        workers_gone.append(max(ends[pid] for pid in workers) - started)
        all_gone.append(max(ends.values()) - started)
        daemon.bury()
        daemon.start()
        daemon.wait_until_ready()
        names = Counter(process.name() for process in daemon.tree() if process.name().startswith("levi-"))
        copies.append(float(max(names.values())))
        kept += positions == {engine["symbol"]: engine["position"] for engine in daemon.status()["engines"]}
        daemon.reset()
    yield Figure(
        "supervisor kill -9 → last worker gone",
        tuple(workers_gone),
        "s",
        0.2,
        beside=f"{ENGINES} engines, feed and broker; the last of all processes {max(all_gone):.2f} s at most",
    )
    yield Figure(
        "copies of each engine after its restart",
        tuple(copies),
        "",
        1,
        beside=f"positions as before: {kept} of {RUNS}; circus and supervisord leave 2",
    )


class Fates:
    """Follows processes to their ends, by the kernel's own notice and not by looking again and again."""

    def __init__(self, pids: set[int]) -> None:
        self._pids = {os.pidfd_open(pid): pid for pid in pids}
        self._poll = select.poll()
        for fd in self._pids:
            self._poll.register(fd, select.POLLIN)

    def wait(self, seconds: float) -> dict[int, float]:
        """Moment of each end; RuntimeError if one of them does not end in time."""
        ends: dict[int, float] = {}
        deadline = time.monotonic() + seconds
        while self._pids:
            ready = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise RuntimeError(f"{sorted(self._pids.values())} live on {seconds:g} s after their supervisor")
            for fd, _ in ready:
                ends[self._pids.pop(fd)] = time.monotonic()
                self._poll.unregister(fd)
                os.close(fd)
        return ends
