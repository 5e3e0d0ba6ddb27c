"""The torture in short: sixty kills, on paper and with real money of the loopback exchange."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from scripts.torture.ground import Ground, place
from scripts.torture.run import Mix, Torture
from scripts.torture.trap import Step

pytestmark = pytest.mark.unmeasured

QUICK: Mix = {"engine": 12, "broker": 12, "supervisor": 1}


def torture(at: AbstractContextManager[Ground], kills: int) -> Torture:
    """Kill so often; nothing is lost, doubled, unknown or without protection."""
    with at as ground:
        run = Torture(ground, 5, QUICK)
        findings = run.run(kills)
        assert findings.violations == []
        assert len(run.kills) == kills
        assert findings.exchange == findings.books == findings.ledgers >= 3 * kills
    return run


@pytest.mark.timeout(300)
def test_fifty_six_kills_on_paper_lose_and_double_nothing(run_dir: Path) -> None:
    run = torture(place("paper", run_dir, 5), 56)
    steps = Counter((kill.victim, kill.step) for kill in run.kills)
    for step in Step:
        assert steps["broker", step] + steps["engine", step], f"nobody died with {step.words}"


@pytest.mark.parametrize("kills", [4, pytest.param(8, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_kills_with_real_money_lose_and_double_nothing(run_dir: Path, kills: int) -> None:
    torture(place("binance", run_dir, 5), kills)
