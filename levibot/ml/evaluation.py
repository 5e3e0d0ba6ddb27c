"""How good probabilities were on a span that nothing was fitted on, and how sure that is.

Rows of one day are not independent: their labels overlap, and symbols move together. So every interval is
of a bootstrap that draws whole days, with all symbols in them (Cameron, Gelbach and Miller 2008).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS
from levibot.ml.history import Floats
from levibot.ml.rows import Rows
from levibot.ml.scores import auc, losses

Days = NDArray[np.int64]
_DAY_MS = 86_400_000
_DRAWS = 1000
_TAILS = (2.5, 97.5)  # percentiles: an interval of 95 %
_AUC_BINS = 1000  # of the probabilities; a rank within one is a tie, which costs the interval nothing


class Estimate(NamedTuple):
    """A figure and its interval of 95 %; NaN where there is nothing to reckon from."""

    value: float
    low: float
    high: float


class Quality(NamedTuple):
    """Of probabilities, against what happened."""

    rows: int
    days: int
    accuracy: Estimate  # of the side that is likelier
    auc: Estimate
    log_loss: Estimate
    brier: Estimate


class Trading(NamedTuple):
    """Of bets on probabilities beyond the thresholds."""

    trades: int
    coverage: float  # share of the rows on which a bet was made
    accuracy: Estimate  # share of bets that came to a barrier, and to the right one
    touched: float  # share of bets that came to a barrier at all
    expectancy: Estimate  # mean net return of a bet after costs, as a fraction of the position


class Bootstrap:
    """Draws of whole days; the same draws for all that is compared.

    Parameters
    ----------
    days
        Of the rows.
    seed
        Of the draws.
    """

    def __init__(self, days: Days, seed: int = 1) -> None:
        self._names, self._places = np.unique(days, return_inverse=True)
        count = len(self._names)
        drawn = np.random.default_rng(seed).multinomial(
            count, np.full(max(1, count), 1 / max(1, count)), size=_DRAWS
        )
        self._times = drawn[:, :count].astype(np.float64)

    def __len__(self) -> int:
        return len(self._names)

    def ratio(self, above: Floats, below: Floats) -> Estimate:
        """Σ above / Σ below over all rows, for example a mean where `below` is 1."""
        if not below.sum():
            return Estimate(np.nan, np.nan, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = (self._times @ self._by_day(above)) / (self._times @ self._by_day(below))
        return Estimate(float(above.sum() / below.sum()), *self._interval(drawn))

    def auc(self, labels: Floats, probabilities: Floats) -> Estimate:
        """Area under the ROC curve."""
        if len(np.unique(labels)) < 2:
            return Estimate(np.nan, np.nan, np.nan)
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, _AUC_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, probabilities, side="left")
        shape = (len(self._names), len(edges) + 1)
        tables = []
        for wanted in (1.0, 0.0):
            chosen = labels == wanted
            flat = np.bincount(self._places[chosen] * shape[1] + bins[chosen], minlength=shape[0] * shape[1])
            tables.append(self._times @ flat.reshape(shape).astype(np.float64))
        ups, downs = tables
        below = np.cumsum(downs, axis=1) - downs / 2  # of each bin: falls ranked lower, ties as half
        with np.errstate(invalid="ignore"):
            drawn = (ups * below).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1))
        return Estimate(auc(labels, probabilities), *self._interval(drawn))

    def _by_day(self, values: Floats) -> Floats:
        weights = values.astype(np.float64)
        return np.asarray(np.bincount(self._places, weights=weights, minlength=len(self._names)), dtype=np.float64)

    @staticmethod
    def _interval(drawn: Floats) -> tuple[float, float]:
        low, high = np.nanpercentile(drawn, _TAILS)
        return float(low), float(high)


def days_of(rows: Rows) -> Days:
    """UTC day of each row, as a number."""
    days: Days = rows.open_ms // _DAY_MS
    return days


def quality(rows: Rows, probabilities: Floats) -> Quality:
    """Judge the probabilities of the rows that came to a barrier."""
    known = np.isfinite(rows.labels)
    labels, given = rows.labels[known], probabilities[known]
    bootstrap, ones = Bootstrap(days_of(rows)[known]), np.ones(len(labels))
    right = np.where(given == 0.5, 0.5, (given > 0.5) == (labels == 1))  # no opinion is half right
    return Quality(
        len(labels),
        len(bootstrap),
        bootstrap.ratio(right, ones),
        bootstrap.auc(labels, given),
        bootstrap.ratio(losses(labels, given), ones),
        bootstrap.ratio((given - labels) ** 2, ones),
    )


def gain(rows: Rows, probabilities: Floats, baseline: Floats) -> Estimate:
    """By how much the log loss is less than that of a baseline, on the same rows and in the same draws."""
    known = np.isfinite(rows.labels)
    labels = rows.labels[known]
    better = losses(labels, baseline[known]) - losses(labels, probabilities[known])
    return Bootstrap(days_of(rows)[known]).ratio(better, np.ones(len(labels)))


def trading(rows: Rows, probabilities: Floats, long_from: float, short_to: float, costs: float) -> Trading:
    """Judge the bets on all rows beyond the thresholds, as if each were made.

    Parameters
    ----------
    rows, probabilities
        All judged rows: which of them come to a barrier nobody knows beforehand.
    long_from, short_to
        Least probability of a long and greatest of a short, fixed before the span was looked at.
    costs
        Of a round trip, as a fraction of the position.
    """
    long, short = probabilities >= long_from, probabilities <= short_to
    taken = (long | short).astype(np.float64)
    net = np.where(long, rows.long, np.where(short, rows.short, 0.0)) - costs * taken
    known = np.isfinite(rows.labels) & (long | short)
    right = known & (long == (rows.labels == 1))
    bootstrap = Bootstrap(days_of(rows))
    bets = int(taken.sum())
    return Trading(
        bets,
        bets / max(1, len(probabilities)),
        bootstrap.ratio(right.astype(np.float64), known.astype(np.float64)),
        float(known.sum()) / max(1, bets),
        bootstrap.ratio(net, taken),
    )


def one_at_a_time(rows: Rows, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the bets remain where a symbol makes the next only when the last has ended.

    Parameters
    ----------
    rows
        In order of time.
    wanted
        Where a bet would be made.
    """
    free_ms: dict[int, int] = {}
    made = np.zeros(len(wanted), dtype=np.bool_)
    for place in np.flatnonzero(wanted).tolist():
        symbol = int(rows.symbols[place])
        if rows.open_ms[place] >= free_ms.get(symbol, 0):
            made[place] = True
            free_ms[symbol] = int(rows.open_ms[place] + (rows.ends[place] - rows.places[place]) * MINUTE_MS)
    return made


def calibration_table(labels: Floats, probabilities: Floats, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean probability, share of label 1 and number of rows, by tenths of the rows in order of probability."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(float(probabilities[part].mean()), float(labels[part].mean()), len(part)) for part in parts]
