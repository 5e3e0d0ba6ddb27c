"""Scores agree with their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    found = score(labels, probabilities, 0.5)
    assert found.auc == pytest.approx(0.75)
    assert found.log_loss == pytest.approx(-(math.log(0.8 * 0.6 * 0.3 * 0.9)) / 4)
    assert found.brier == pytest.approx((0.04 + 0.16 + 0.49 + 0.01) / 4)
    assert found.base_log_loss == pytest.approx(math.log(2))
    assert found.base_brier == pytest.approx(0.25)
    assert found.beats_base_rate
    assert not score(labels, 1 - probabilities, 0.5).beats_base_rate


def test_a_wrong_certainty_is_dear_and_finite() -> None:
    found = score(np.array([0.0, 1.0]), np.array([1.0, 0.0]), 0.5)
    assert 30 < found.log_loss < 40
