"""Scores agree with their definitions, written out."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.ml.history import Floats
from levibot.ml.scored import Scores
from levibot.ml.scores import auc, score

_JUDGED = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 10)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@given(_JUDGED)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, int]]) -> None:
    labels, ranks = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    pairs = [
        1.0 if above > below else 0.5 if above == below else 0.0
        for above in ranks[labels == 1]
        for below in ranks[labels == 0]
    ]
    assert auc(labels, ranks / 10) == pytest.approx(sum(pairs) / len(pairs))


def test_known_values() -> None:
    labels, probabilities = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.8, 0.4, 0.3, 0.1])
    found = score(labels, probabilities, 0.25, np.arange(4))
    assert found.auc == pytest.approx(0.75)
    assert found.log_loss == pytest.approx(-(math.log(0.8 * 0.6 * 0.3 * 0.9)) / 4)
    assert found.brier == pytest.approx((0.04 + 0.16 + 0.49 + 0.01) / 4)
    assert found.base_log_loss == pytest.approx(-math.log(0.25 * 0.75) / 2)
    assert found.base_brier == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert found.even == found.hindsight is not None, "half of the labels are 1"
    assert found.even.log_loss == pytest.approx(math.log(2))
    gains = [math.log(2 * given) for given in (0.8, 0.6, 0.3, 0.9)]
    assert found.even.gain == pytest.approx(np.mean(gains))
    assert found.even.gain_error == pytest.approx(np.std(gains, ddof=1) / 2)


DRAW = np.random.default_rng(4)


def informed(rows: int, knowledge: float) -> tuple[Floats, Floats]:
    """Labels, and probabilities that are right as often as they say."""
    probabilities = 0.5 + knowledge * DRAW.choice([-1.0, 1.0], rows)
    return (DRAW.random(rows) < probabilities).astype(float), probabilities


def test_who_knows_something_misses_nothing() -> None:
    labels, probabilities = informed(2000, 0.2)
    assert score(labels, probabilities, 0.5, np.arange(2000) // 20).missed == []


def test_better_than_the_training_base_rate_is_nothing_where_the_test_span_drifted() -> None:
    """Each of these has a lower log loss than the training span's base rate."""
    labels = (DRAW.random(2000) < 0.42).astype(float)
    guesses = 0.55 + 0.02 * DRAW.random(2000)
    found = score(labels, guesses, 0.58, np.arange(2000) // 20)
    assert found.log_loss < found.base_log_loss
    assert any("a constant 0.5 has 0.6931" in reason for reason in found.missed)
    close = score(labels, guesses - 0.14, 0.58, np.arange(2000) // 20)
    assert close.even is not None
    assert close.even.gain > 0, "it happens to say what is frequent, and knows no more than that"
    assert any("the test span's own base rate" in reason for reason in close.missed)


def test_rows_whose_labels_overlap_do_not_add_up_to_significance() -> None:
    """Of 20 things 12 are guessed right, and each is told 200 times."""
    labels = np.repeat([1.0] * 10 + [0.0] * 10, 200)
    right = np.repeat(([True] * 6 + [False] * 4) * 2, 200)
    probabilities = np.where(right == (labels == 1), 0.52, 0.48)
    every_row, witnesses = np.arange(4000), np.arange(4000) // 200
    assert score(labels, probabilities, 0.5, every_row).missed == []
    (reason,) = (text for text in score(labels, probabilities, 0.5, witnesses).missed if "a constant 0.5" in text)
    assert "no more than chance" in reason


def test_a_short_test_span_and_a_backward_ranking_are_told() -> None:
    labels, probabilities = informed(2000, 0.2)
    (reason,) = score(labels, probabilities, 0.5, np.arange(2000) // 250).missed
    assert reason == "the test span is too short to tell: 8 stretches, 10 needed"
    assert "no better than guessing" in score(labels, 1 - probabilities, 0.5, np.arange(2000)).missed[0]


def test_scores_of_earlier_versions_still_load() -> None:
    old = {"auc": 0.9, "log_loss": 0.2, "brier": 0.1, "base_log_loss": 0.69, "base_brier": 0.25}
    (reason,) = msgspec.convert(old, Scores).missed
    assert "earlier version" in reason


def test_a_wrong_certainty_is_dear_and_finite() -> None:
    found = score(np.array([0.0, 1.0]), np.array([1.0, 0.0]), 0.5, np.arange(2))
    assert 30 < found.log_loss < 40
