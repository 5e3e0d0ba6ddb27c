"""What an evaluation says that the strategy would do is what the strategy does."""

from __future__ import annotations

import numpy as np
import pytest

from levibot.strategies.probability import Stakes
from scripts.evaluate.report import worthwhile
from tests.strategies.test_ensemble import Asked


@pytest.mark.parametrize(
    "stakes", [Stakes(0.012, 0.008, 1.0, 0.0), Stakes(0.02, 0.02, 0.5, 0.001), Stakes(0.02, 0.015, 0.6, -0.002)]
)
def test_the_bets_that_are_judged_are_those_that_the_ensemble_makes(stakes: Stakes) -> None:
    up, down, touched, untouched_return = stakes
    said = {"take_profit": up, "stop_loss": down, "touched": touched, "untouched_return": untouched_return}
    strategy, probabilities = Asked(), np.linspace(0.01, 0.99, 50)
    made = [strategy.verdict(probability, **said) is not None for probability in probabilities.tolist()]
    kept = worthwhile(probabilities, stakes)
    assert (kept != 0.5).tolist() == made
    assert 0 < sum(made) < len(made)
    assert (kept[made] == probabilities[made]).all()
