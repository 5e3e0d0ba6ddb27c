"""``python -m scripts.bench [GROUP…]``: run benchmarks, print the table, write JSON."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from levibot.errors import LeviBotError
from scripts.bench.figures import Figure, show, store

GROUPS = {
    "bus": "bus",
    "kill": "kills",
    "start": "starts",
    "memory": "memory",
    "latency": "latency",
    "crowd": "crowd",
    "inference": "inference",
    "tft": "tft",
    "decisions": "decisions",
    "orders": "orders",
    "approvals": "approvals",
    "scrape": "scrape",
    "api": "api",
    "rivals": "rivals",
    "recorder": "recorder",
    "soak": "soak",
    "feed-faults": "feed_faults",
    "feed-load": "feed_load",
    "feed-kills": "feed_kills",
    "recovery": "recovery",
    "torture": "torture",
}
RESULTS = Path(__file__).parents[2] / "bench-results"


def main(wanted: list[str]) -> int:
    """Run the named groups, or all; 1 if one of them failed, 2 if one is unknown."""
    console = Console()
    console.width = max(console.width, 150)
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        console.print(f"no such group: {', '.join(unknown)}; there are: {', '.join(GROUPS)}")
        return 2
    figures: list[Figure] = []
    failures: list[str] = []
    for name in wanted or GROUPS:
        started = time.monotonic()
        try:
            for figure in importlib.import_module(f"scripts.bench.{GROUPS[name]}").rows():
                console.print(
                    f"  {figure.name}: {figure.median:.4g} {figure.unit}  {figure.beside}", highlight=False
                )
                figures.append(figure)
        except (LeviBotError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {error}")
            console.print(f"[red]{name} failed:[/] {error}", highlight=False)
        console.print(f"{name}: {time.monotonic() - started:.0f} s", style="dim")
    show(figures, console)
    console.print(f"stored in {store(figures, failures, RESULTS)}", highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
