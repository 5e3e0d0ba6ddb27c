"""From raw probabilities to ones that come true as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from levibot.market.bars import MINUTE_MS
from levibot.ml.history import Floats
from levibot.ml.manifest import Calibration
from levibot.ml.overlap import overlap
from levibot.ml.rows import Rows, stretches
from levibot.ml.scores import log_loss

_LEAST = 1e-12  # so that a certainty has a finite logit
# How far the slope lies from 1, and the level from the model's own, before any label is seen: standard deviations.
# Prices drift: what share of a few days rose says little about the next.
_PRIOR_SLOPE, _PRIOR_LEVEL = 1.0, 0.25
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
        return _platt(probabilities, rows)

    def trial(make: Callable[[Floats, Rows], Calibration]) -> float:
        return log_loss(labels[late], apply(make(probabilities[early], rows.take(early)), probabilities[late]))

    return (_platt if trial(_platt) <= trial(_isotonic) else _isotonic)(probabilities, rows)


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


def _stretches(rows: Rows) -> int:
    """How many stretches of time there are that share no label, whatever the symbols: they move together."""
    horizon_bars = int((rows.until_ms - rows.open_ms).max()) // MINUTE_MS - 1
    return len(np.unique(stretches(rows, max(1, horizon_bars))))


def _platt(probabilities: Floats, rows: Rows) -> Calibration:
    """Logistic regression on the logit, with targets drawn in as of one more row of each class (Platt 1999).

    It is drawn towards no change, the more so the fewer witnesses there are: Gaussian priors, the slope's weighed
    against labels that do not overlap, the level's against stretches of time.
    """
    from scipy.optimize import minimize

    labels, logits = rows.labels, _logit(probabilities)
    middle = float(logits.mean())
    slope_weight = 1 / (_PRIOR_SLOPE**2 * max(1.0, _witnesses(rows)))
    level_weight = 1 / (_PRIOR_LEVEL**2 * max(1, _stretches(rows)))
    positives = labels.sum()
    negatives = len(labels) - positives
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        change, level = parameters[0] - 1, parameters[1]
        scores = logits + change * (logits - middle) + level
        errors = _sigmoid(scores) - targets
        value = float((np.logaddexp(0, scores) - targets * scores).mean())
        value += (slope_weight * change**2 + level_weight * level**2) / 2
        slope_gradient = (errors * (logits - middle)).mean() + slope_weight * change
        return value, np.array([slope_gradient, errors.mean() + level_weight * level])

    bounds = [(_LEAST_SLOPE, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    slope, level = found.x.tolist()
    return Calibration(kind="platt", slope=slope, intercept=level + middle * (1 - slope))


def _isotonic(probabilities: Floats, rows: Rows) -> Calibration:
    """Level stretches of the best rising steps (Zadrozny and Elkan 2002), with lines between their middles."""
    from scipy.optimize import isotonic_regression

    raw, places = np.unique(probabilities, return_inverse=True)
    counts = np.bincount(places)
    means = np.bincount(places, weights=rows.labels) / counts
    steps = isotonic_regression(means, weights=counts)
    if len(steps.blocks) < 3:  # one level: the base rate, which has no two points
        return _platt(probabilities, rows)
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
