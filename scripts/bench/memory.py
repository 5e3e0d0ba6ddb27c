"""Unique memory of an engine under load, and whether it grows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

import psutil

from scripts.bench.figures import LONG, Figure
from scripts.bench.live import open_daemon

ENGINES = 5
TICK_HZ = 30.0
MINUTES = 10.0 if LONG else 1.0
SAMPLE_SECONDS = 5.0
SETTLED = 0.2  # of the time; what comes before is start-up
MB = 1e6


def rows() -> Iterator[Figure]:
    """Figures of memory, of one long run."""
    with open_daemon(ENGINES, TICK_HZ, engine={"strategy": "sma_cross"}) as daemon:
        daemon.start()
        status = daemon.wait_until_ready()
        engines = [psutil.Process(engine["pid"]) for engine in status["engines"]]
        series: list[list[float]] = [[] for _ in engines]
        times: list[float] = []
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < MINUTES * 60:
            times.append(elapsed / 60)
            for values, engine in zip(series, engines, strict=True):
                values.append(engine.memory_full_info().uss / MB)
            time.sleep(SAMPLE_SECONDS)
        restarts = sum(engine["restarts"] for engine in daemon.status()["engines"])
    note = f"{ENGINES} engines for {MINUTES:g} minutes, {restarts} restarts"
    first = int(len(times) * SETTLED)
    slopes = [slope(times[first:], values[first:]) for values in series]
    yield Figure(
        f"USS of an engine at {TICK_HZ:.0f} Hz", tuple(values[-1] for values in series), "MB", 10, beside=note
    )
    yield Figure(
        "its slope", tuple(value * 1000 for value in slopes), "kB/min", 10, beside="after the first fifth"
    )


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the least-squares line."""
    return statistics.linear_regression(times, values).slope
