"""kill -9 at every moment and at every step of a commit, on paper and on the loopback exchange."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.bench.figures import LONG, Figure
from scripts.torture.ground import place
from scripts.torture.run import RunFailedError, Torture

KILLS = {"paper": 1_000 if LONG else 40, "binance": 200 if LONG else 10, "mexc": 200 if LONG else 10}
SEED = 3


def rows() -> Iterator[Figure]:
    """Recovery, and what was lost or doubled."""
    for venue, kills in KILLS.items():
        with tempfile.TemporaryDirectory(prefix="levi-") as name, place(venue, Path(name), SEED) as ground:
            torture = Torture(ground, SEED)
            try:
                findings = torture.run(kills)
            except RunFailedError as error:
                raise RuntimeError(f"torture, {venue}: {error}") from error
        recovered = tuple(kill.recovered_s for kill in torture.kills)
        beside = f"{kills} kills, {findings.exchange} fills, worst {max(recovered):.1f} s"
        yield Figure(f"torture, {venue}: death → all workers ready", recovered, "s", None, beside=beside)
        wrong = "; ".join(findings.violations[:3])
        yield Figure(f"torture, {venue}: fills lost", (float(findings.lost),), "", 0, beside=wrong)
        yield Figure(f"torture, {venue}: fills doubled", (float(findings.doubled),), "", 0, beside=wrong)
        yield Figure(f"torture, {venue}: violations", (float(len(findings.violations)),), "", 0, beside=wrong)
