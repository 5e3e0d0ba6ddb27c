"""A measured figure, its target, and how it is shown and stored."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

RUNS = 5
LONG = os.environ.get("LEVIBOT_BENCH_LONG") == "1"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Parameters
    ----------
    name
        What was measured.
    values
        One for each run; their median counts.
    unit
        Of `values` and `target`: ms, s, MB, /s…
    target
        Bound that the median must keep, or None for a figure that only stands beside others.
    bound
        Whether the target is the most or the least that is good.
    beside
        What the figure is compared to, measured in the same run, and how it was measured.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    target: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    beside: str = ""

    @property
    def median(self) -> float:
        """Median over the runs; not a number if there was none."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None without one."""
        if self.target is None:
            return None
        return self.median <= self.target if self.bound == "at most" else self.median >= self.target


def machine_load() -> str:
    """How busy the machine is, in words that stand beside a figure."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def percentile(values: Sequence[float], fraction: float) -> float:
    """Smallest value that at least `fraction` of all values do not exceed; not a number if there is none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="LeviBot benchmarks: medians, on " + describe_machine())
    table.add_column("figure")
    for heading in ("median", "from … to", "runs", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("beside", overflow="fold")
    for figure in figures:
        spread = f"{_short(min(figure.values))} … {_short(max(figure.values))}" if len(figure.values) > 1 else ""
        sign = "≤" if figure.bound == "at most" else "≥"
        target = f"{sign} {_short(figure.target)}" if figure.target is not None else ""
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[figure.met]
        median = f"{_short(figure.median)} {figure.unit}"
        table.add_row(figure.name, median, spread, str(len(figure.values)), target, verdict, figure.beside)
    console.print(table)


def store(figures: Sequence[Figure], failures: Sequence[str], directory: Path) -> Path:
    """Write the figures as JSON to a new file in `directory`."""
    now = datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"bench-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "finished_at": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "long": LONG,
        "failures": list(failures),
        "figures": [asdict(figure) | {"median": figure.median, "met": figure.met} for figure in figures],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def describe_machine() -> str:
    """Cores, interpreter and kernel, in a few words."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux {platform.release()}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
