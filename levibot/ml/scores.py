"""How good probabilities were."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levibot.ml.history import Floats
from levibot.ml.scored import Constant, Scores

_LEAST = 1e-15  # so that one wrong certainty costs much, not everything


def score(labels: Floats, probabilities: Floats, base_rate: float, blocks: NDArray[np.int64]) -> Scores:
    """Judge probabilities by what happened.

    Parameters
    ----------
    labels
        0 or 1; both occur. Shape (rows,).
    probabilities
        The same shape.
    base_rate
        Share of label 1 in the training span.
    blocks
        Number of the stretch of time that each row belongs to: rows of one stretch are not independent, for
        their labels overlap. The same shape.
    """
    constant = np.full_like(probabilities, base_rate)
    return Scores(
        auc=auc(labels, probabilities),
        log_loss=log_loss(labels, probabilities),
        brier=_brier(labels, probabilities),
        base_log_loss=log_loss(labels, constant),
        base_brier=_brier(labels, constant),
        even=_against(0.5, labels, probabilities, blocks),
        hindsight=_against(float(labels.mean()), labels, probabilities, blocks),
        blocks=len(np.unique(blocks)),
    )


def auc(labels: Floats, probabilities: Floats) -> float:
    """Probability that a row with label 1 is ranked above one with label 0; a tie is half (Mann–Whitney)."""
    _, inverse, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # from 1, ties share the mean
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(labels: Floats, probabilities: Floats) -> float:
    """Mean −ln of the probability that was given to what happened; .693 is that of one half."""
    return float(losses(labels, probabilities).mean())


def _against(constant: float, labels: Floats, probabilities: Floats, blocks: NDArray[np.int64]) -> Constant:
    given = losses(labels, np.full_like(probabilities, constant))
    gains = given - losses(labels, probabilities)
    return Constant(
        probability=constant,
        log_loss=float(given.mean()),
        gain=float(gains.mean()),
        gain_error=standard_error(gains, blocks),
    )


def standard_error(values: Floats, blocks: NDArray[np.int64]) -> float:
    """Of the mean of values that are independent between blocks alone (Cameron and Miller 2015, part II)."""
    _, places = np.unique(blocks, return_inverse=True)
    sums = np.bincount(places, weights=values - values.mean())
    spread = float((sums**2).sum()) * len(sums) / max(1, len(sums) - 1)
    return math.sqrt(spread) / len(values)


def losses(labels: Floats, probabilities: Floats) -> Floats:
    """−ln of the probability that was given to what happened, of each row."""
    bounded = np.clip(probabilities, _LEAST, 1 - _LEAST)
    found: Floats = -(labels * np.log(bounded) + (1 - labels) * np.log1p(-bounded))
    return found


def _brier(labels: Floats, probabilities: Floats) -> float:
    return float(np.mean((probabilities - labels) ** 2))
