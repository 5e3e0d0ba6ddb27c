"""From raw probabilities to ones that come true as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from levibot.ml.history import Floats
from levibot.ml.manifest import Calibration
from levibot.ml.overlap import overlap
from levibot.ml.rows import Rows
from levibot.ml.scores import log_loss

_LEAST = 1e-12  # so that a certainty has a finite logit
_LEAST_SLOPE = 0.01  # who is right by chance alone still ranks, and says hardly more than the base rate
# Witnesses in each half; of fewer, the steps are noise (Niculescu-Mizil and Caruana 2005). Rows whose labels look
# at the same bars are hardly more than one.
_LEAST_FOR_ISOTONIC = 1000


def fit(probabilities: Floats, rows: Rows) -> Calibration:
    """Platt's or the isotonic calibration, whichever does better on rows that it was not fitted on.

    Parameters
    ----------
    probabilities
        Raw ones. Shape (rows,).
    rows
        All with labels, in order of time. The earlier half of the time fits both, the later half compares them.
    """
    labels = rows.labels
    middle_ms = (rows.open_ms[0] + rows.until_ms[-1]) // 2
    early, late = rows.until_ms <= middle_ms, rows.open_ms >= middle_ms
    if min(_witnesses(rows.take(early)), _witnesses(rows.take(late))) < _LEAST_FOR_ISOTONIC:
        return _platt(probabilities, labels)

    def trial(make: Callable[[Floats, Floats], Calibration]) -> float:
        return log_loss(labels[late], apply(make(probabilities[early], labels[early]), probabilities[late]))

    return (_platt if trial(_platt) <= trial(_isotonic) else _isotonic)(probabilities, labels)


def apply(calibration: Calibration, probabilities: Floats) -> Floats:
    """Calibrated probabilities, of the same shape."""
    return calibrator(calibration)(probabilities)


def calibrator(calibration: Calibration) -> Callable[[Floats], Floats]:
    """What makes calibrated probabilities of raw ones, made once for many calls."""
    if calibration.kind == "platt":
        return lambda probabilities: _sigmoid(calibration.slope * _logit(probabilities) + calibration.intercept)
    if calibration.kind == "isotonic":
        raw, calibrated = np.array(calibration.points).T
        return lambda probabilities: np.interp(probabilities, raw, calibrated)
    return lambda probabilities: probabilities


def _witnesses(rows: Rows) -> float:
    """About how many independent labels there are."""
    if not len(rows.labels):
        return 0.0
    return len(rows.labels) * overlap(rows.symbols, rows.places + 1, rows.ends).uniqueness


def _platt(probabilities: Floats, labels: Floats) -> Calibration:
    """Logistic regression on the logit, with targets drawn in as of one more row of each class (Platt 1999)."""
    from scipy.optimize import minimize

    logits = _logit(probabilities)
    positives = labels.sum()
    negatives = len(labels) - positives
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scores = parameters[0] * logits + parameters[1]
        errors = _sigmoid(scores) - targets
        value = float((np.logaddexp(0, scores) - targets * scores).mean())
        return value, np.array([(errors * logits).mean(), errors.mean()])

    bounds = [(_LEAST_SLOPE, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    slope, intercept = found.x.tolist()
    return Calibration(kind="platt", slope=slope, intercept=intercept)


def _isotonic(probabilities: Floats, labels: Floats) -> Calibration:
    """Level stretches of the best rising steps (Zadrozny and Elkan 2002), with lines between their middles."""
    from scipy.optimize import isotonic_regression

    raw, places = np.unique(probabilities, return_inverse=True)
    counts = np.bincount(places)
    means = np.bincount(places, weights=labels) / counts
    steps = isotonic_regression(means, weights=counts)
    if len(steps.blocks) < 3:  # one level: the base rate, which has no two points
        return _platt(probabilities, labels)
    first = steps.blocks[:-1]
    weights = np.add.reduceat(counts, first)
    middles = np.add.reduceat(raw * counts, first) / weights
    levels = (np.add.reduceat(means * counts, first) + 0.5) / (weights + 1)  # never quite certain
    levels = isotonic_regression(levels, weights=weights).x
    return Calibration(kind="isotonic", points=tuple(zip(middles.tolist(), levels.tolist(), strict=True)))


def _logit(probabilities: Floats) -> Floats:
    bounded = np.clip(probabilities, _LEAST, 1 - _LEAST)
    logits: Floats = np.log(bounded) - np.log1p(-bounded)
    return logits


def _sigmoid(scores: Floats) -> Floats:
    halves: Floats = 0.5 * (1 + np.tanh(scores / 2))  # overflows nowhere
    return halves
