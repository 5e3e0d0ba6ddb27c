"""Soak a real daemon with a mock market: 30 ticks a second and symbol, nothing may be lost or go wrong.

Run as ``python -m scripts.mock_soak [--seconds N] [--symbols N]``. Exit code 0: within the limits, 1: not.
"""

from __future__ import annotations

import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from scripts.bench.figures import percentile
from scripts.bench.live import LiveDaemon, open_daemon

TICK_HZ = 30.0
LARGEST_DROP_RATE = 0.001
LARGEST_QUEUE = 32
SAMPLE_SECONDS = 0.25


@click.command()
@click.option("--seconds", type=click.FloatRange(min=5), default=60.0, show_default=True, help="Length.")
@click.option("--symbols", type=click.IntRange(min=1, max=500), default=15, show_default=True, help="Engines.")
def main(seconds: float, symbols: int) -> None:
    """Soak a daemon of its own and judge it."""
    with open_daemon(symbols, TICK_HZ, feed={"speed": 60.0}) as daemon:
        daemon.start()
        first = daemon.wait_until_ready()
        queue_depths = soak(daemon, seconds)
        last = daemon.status()
    received = growth(first, last, "ticks") + growth(first, last, "conflated")
    dropped = growth(first, last, "dropped")
    rate = dropped / max(1.0, received + dropped)
    errors = sum(worker["error_count"] for worker in [*last["engines"], *last["workers"]])
    restarts = sum(worker["restarts"] for worker in [*last["engines"], *last["workers"]])
    depth = percentile(queue_depths, 0.95)
    expected = symbols * TICK_HZ * seconds
    verdicts = [
        ("ticks received", f"{received:,.0f}", f"≥ {0.9 * expected:,.0f}", received >= 0.9 * expected),
        ("drop rate", f"{rate:.4%}", f"≤ {LARGEST_DROP_RATE:.1%}", rate <= LARGEST_DROP_RATE),
        ("queue depth, 95th percentile", f"{depth:g}", f"≤ {LARGEST_QUEUE}", depth <= LARGEST_QUEUE),
        ("errors", str(errors), "0", errors == 0),
        ("restarts", str(restarts), "0", restarts == 0),
        ("engines ready at the end", str(last["running"]), str(symbols), last["running"] == symbols),
    ]
    show(verdicts, f"{symbols} symbols × {TICK_HZ:.0f} Hz for {seconds:g} s, simulated market")
    raise SystemExit(0 if all(met for *_, met in verdicts) else 1)


def soak(daemon: LiveDaemon, seconds: float) -> list[float]:
    """Queue depths of all engines, sampled over and over for that long."""
    depths: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(SAMPLE_SECONDS)
        known = (engine["queue_depth"] for engine in daemon.status().get("engines", []))
        depths += [depth for depth in known if depth is not None]
    return depths


def growth(first: dict[str, Any], last: dict[str, Any], field: str) -> float:
    """How much a counter of all engines has grown between two status documents."""

    def total(status: dict[str, Any]) -> float:
        return float(sum(engine[field] or 0 for engine in status["engines"]))

    return total(last) - total(first)


def show(verdicts: list[tuple[str, str, str, bool]], title: str) -> None:
    """Print the verdicts."""
    table = Table("figure", "value", "limit", "", title=title)
    for name, value, limit, met in verdicts:
        table.add_row(name, value, limit, "[green]met[/]" if met else "[red]missed[/]")
    Console().print(table)


if __name__ == "__main__":
    main()
