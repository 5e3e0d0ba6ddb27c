"""Every row of the fault table, in both dialects: noticed, recovered, no bar lost or doubled, no trade doubled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.exchange.settings import DialectName
from tests.market_live.fault_rows import ROWS, Row
from tests.market_live.play import Outcome, play_alone

LANES = 4
SHORT = (
    "connection torn down: silent reconnect",
    "pong but no data",
    "one frame of trades lost",
    "crossed book",
    "malformed frame",
    "reconnect, and REST HTML with 200",
)


def judge(outcome: Outcome) -> list[str]:
    """What is wrong with it; speed does not matter here."""
    faithful = outcome.faithful
    wrong = {
        "not noticed": outcome.row.interrupts and outcome.detected_s is None,
        "not fresh again": outcome.fresh_s is None,
        f"{outcome.bystanders} disturbed": bool(outcome.bystanders),
        "bars lost": faithful.lost_bars > 0,
        "bars doubled": faithful.doubled_bars > 0,
        "bars wrong": faithful.wrong_bars > 0,
        "trades doubled": faithful.doubled_trades > 0,
        "trades made up": faithful.made_up_trades > 0,
        "crossed books": faithful.crossed_books > 0,
    }
    return [f"{outcome.dialect}, {outcome.row.name}: {what}; {outcome}" for what, is_so in wrong.items() if is_so]


def check(folder: Path, dialect: DialectName, rows: tuple[Row, ...]) -> None:
    """Play rows side by side, each on an exchange and a feed of its own."""
    with ThreadPoolExecutor(LANES) as pool:
        outcomes = list(
            pool.map(lambda number: play_alone(folder / str(number), dialect, rows[number]), range(len(rows)))
        )
    assert not [complaint for outcome in outcomes for complaint in judge(outcome)]
    assert len(outcomes) == len(rows)


@pytest.mark.parametrize("dialect", ["binance", pytest.param("mexc", marks=pytest.mark.long)])
def test_the_gravest_faults(dialect: DialectName, run_dir: Path) -> None:
    check(run_dir, dialect, tuple(row for row in ROWS if row.name in SHORT))


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("dialect", ["binance", "mexc"])
def test_every_fault(dialect: DialectName, run_dir: Path) -> None:
    check(run_dir, dialect, ROWS)
