"""How good probabilities were."""

from __future__ import annotations

import numpy as np

from levibot.ml.history import Floats
from levibot.ml.manifest import Scores

_LEAST = 1e-15  # so that one wrong certainty costs much, not everything


def score(labels: Floats, probabilities: Floats, base_rate: float) -> Scores:
    """Judge probabilities by what happened.

    Parameters
    ----------
    labels
        0 or 1; both occur. Shape (rows,).
    probabilities
        The same shape.
    base_rate
        Constant probability to compare with.
    """
    constant = np.full_like(probabilities, base_rate)
    return Scores(
        auc=auc(labels, probabilities),
        log_loss=_log_loss(labels, probabilities),
        brier=_brier(labels, probabilities),
        base_log_loss=_log_loss(labels, constant),
        base_brier=_brier(labels, constant),
    )


def auc(labels: Floats, probabilities: Floats) -> float:
    """Probability that a row with label 1 is ranked above one with label 0; a tie is half (Mann–Whitney)."""
    _, inverse, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # from 1, ties share the mean
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _log_loss(labels: Floats, probabilities: Floats) -> float:
    bounded = np.clip(probabilities, _LEAST, 1 - _LEAST)
    return float(-np.mean(labels * np.log(bounded) + (1 - labels) * np.log1p(-bounded)))


def _brier(labels: Floats, probabilities: Floats) -> float:
    return float(np.mean((probabilities - labels) ** 2))
