"""Every fault of live market data, in both dialects: time until it is noticed, time until data are fresh again.

Real feed processes with the real ccxt stream from loopback exchanges whose market runs twenty times as fast, so
that minutes close while a fault lasts; a fault, a deadline and an age last as long as ever.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.bench.figures import Figure
from tests.exchange.settings import DialectName
from tests.market_live.fault_rows import ROWS
from tests.market_live.play import Outcome, play_alone
from tests.market_live.truth import Faithfulness
from tests.market_live.world import SPEED

LANES = 3
NOTICED_S, FRESH_S = 5.0, 10.0
DIALECTS: tuple[DialectName, ...] = ("binance", "mexc")


def rows() -> Iterator[Figure]:
    """Two figures for each fault and dialect, and what was lost or doubled in all of them."""
    for dialect in DIALECTS:
        with tempfile.TemporaryDirectory(prefix="levi-") as folder:
            outcomes = play_rows(Path(folder), dialect)
        for outcome in outcomes:
            yield from figures_of(outcome)
        yield from totals(dialect, outcomes)


def play_rows(folder: Path, dialect: DialectName) -> list[Outcome]:
    """All rows, some side by side, in the order of the table."""
    with ThreadPoolExecutor(LANES) as pool:
        return list(pool.map(lambda at: play_alone(folder / str(at), dialect, ROWS[at]), range(len(ROWS))))


def figures_of(outcome: Outcome) -> Iterator[Figure]:
    """When it was noticed, if there is something to notice, and when all was fresh."""
    row, name = outcome.row, f"{outcome.dialect}: {outcome.row.name}"
    by_bars = row.needs_ids and outcome.dialect == "mexc"
    if row.interrupts or outcome.detected_s is not None:
        noticed = math.inf if outcome.detected_s is None else outcome.detected_s
        target, beside = NOTICED_S if row.interrupts else None, outcome.sign
        if by_bars:
            noticed, target = noticed * SPEED, None
            beside = (
                "exception: MEXC numbers no trades, so its bar of the minute has to come; in the market's time"
            )
        yield Figure(f"{name} → noticed", (noticed,), "s", target, beside=beside)
    if row.interrupts and not by_bars:
        fresh = math.inf if outcome.fresh_s is None else outcome.fresh_s
        beside = ["since it was lifted"] if row.from_lifting else []
        beside += [f"{lost} trades lost" for lost in [outcome.faithful.lost_trades] if lost]
        yield Figure(f"{name} → fresh", (fresh,), "s", FRESH_S, beside="; ".join(beside))


def totals(dialect: DialectName, outcomes: list[Outcome]) -> Iterator[Figure]:
    """Sums over all rows."""
    total = sum((outcome.faithful for outcome in outcomes), Faithfulness())
    note = f"in {len(outcomes)} faults; {total.lost_trades} trades were not to be had again"
    yield Figure(f"{dialect}: bars lost", (float(total.lost_bars),), "", 0, beside=note)
    yield Figure(f"{dialect}: bars doubled", (float(total.doubled_bars),), "", 0)
    yield Figure(f"{dialect}: bars that differ from the exchange's", (float(total.wrong_bars),), "", 0)
    yield Figure(f"{dialect}: trades doubled", (float(total.doubled_trades),), "", 0)
    yield Figure(f"{dialect}: crossed books", (float(total.crossed_books),), "", 0)
