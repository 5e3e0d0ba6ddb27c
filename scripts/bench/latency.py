"""From the publishing of a tick to the call of the strategy, and what was dropped on the way."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.bench.figures import RUNS, Figure, percentile
from scripts.bench.live import open_daemon

ENGINES = 15
TICK_HZ = 30.0
SECONDS = 12.0
KEEP = 60  # ticks in each line that a strategy writes: two seconds


def rows() -> Iterator[Figure]:
    """Figures of the way of a tick."""
    latencies: list[list[int]] = []
    dropped, conflated, ticks = 0, 0, 0
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
            options = {"directory": name, "keep": KEEP}
            strategy = {"strategy": "scripts.bench.strategies:EveryTick", "strategy_options": options}
            with open_daemon(ENGINES, TICK_HZ, engine=strategy) as daemon:
                daemon.start()
                daemon.wait_until_ready()
                time.sleep(SECONDS)
                engines = daemon.status()["engines"]
            dropped += sum(engine["dropped"] for engine in engines)
            conflated += sum(engine["conflated"] for engine in engines)
            ticks += sum(engine["ticks"] for engine in engines)
            latencies.append(_ages(Path(name)))
    note = f"{ENGINES} engines × {TICK_HZ:.0f} Hz, asked at every tick, {ticks:,} ticks"
    for fraction, target in ((0.5, 0.5), (0.99, 2.0)):
        values = tuple(percentile(ages, fraction) / 1000 for ages in latencies)
        yield Figure(f"tick published → strategy called, p{fraction * 100:.0f}", values, "ms", target, beside=note)
    beside = f"{conflated} replaced by a newer tick before they were looked at"
    yield Figure("ticks dropped", (float(dropped),), "", 0, beside=beside)


def _ages(directory: Path) -> list[int]:
    """What the strategies wrote, without the first line of each: start-up."""
    lines = [path.read_text(encoding="utf-8").splitlines()[1:] for path in directory.glob("*.jsonl")]
    return [age for file in lines for line in file for age in json.loads(line)]
