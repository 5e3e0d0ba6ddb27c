"""From the probabilities of several components to a side, and what it is worth: arithmetic, nothing else.

All probabilities are of the same event: the price rises by one distance before it falls by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Literal, NamedTuple

WEIGHTS: Mapping[str, float] = {"lightgbm": 0.5, "tft": 0.3, "sentiment": 0.2}
PRIMARY = "lightgbm"  # nothing is opened without it
VETO_ONLY = frozenset({"sentiment"})  # headlines may shrink or veto, never open


class Bet(NamedTuple):
    """A side, and the probability of a rise to bet with.

    That is the less certain of the two: with headlines, and without. So headlines make a bet smaller, or too
    small to pay, and never larger.
    """

    side: Literal["long", "short"]
    probability: float


def combine(parts: Mapping[str, float], weights: Mapping[str, float] = WEIGHTS) -> float | None:
    """Weighted mean of the components that are present: Σ wᵢ·pᵢ / Σ wᵢ.

    A missing component is missing, never a neutral number.

    Parameters
    ----------
    parts
        Probability, 0..1, of each component that is present and fresh.
    weights
        Above 0, for every component that may be present.

    Returns
    -------
    float or None
        Between the least and the greatest of the parts; None if there is none.
    """
    if not parts:
        return None
    total = fsum(weights[name] for name in parts)
    mean = fsum(weights[name] * probability for name, probability in parts.items()) / total
    return min(max(mean, min(parts.values())), max(parts.values()))  # a rounding must not cross a threshold


def choose(
    parts: Mapping[str, float], long_from: float, short_to: float, weights: Mapping[str, float] = WEIGHTS
) -> Bet | None:
    """The side on which all components together are, and also those alone that may open a position.

    Parameters
    ----------
    parts, weights
        As of `combine`. Without `PRIMARY` among the parts there is no bet.
    long_from, short_to
        Least probability of a long and greatest of a short, ``short_to < long_from``.
    """
    together = combine(parts, weights)
    alone = combine({name: value for name, value in parts.items() if name not in VETO_ONLY}, weights)
    if PRIMARY not in parts or together is None or alone is None:
        return None
    if min(together, alone) >= long_from:
        return Bet("long", min(together, alone))
    if max(together, alone) <= short_to:
        return Bet("short", max(together, alone))
    return None


class Stakes(NamedTuple):
    """What a bet on a rise may win and lose, as fractions of the price.

    Parameters
    ----------
    up, down
        Distances of the barriers from the entry, above 0.
    touched
        Share of bets, 0..1, that come to a barrier before the horizon ends.
    untouched_return
        Mean return of the price until the horizon where it comes to neither.
    """

    up: float
    down: float
    touched: float
    untouched_return: float

    @property
    def of_fall(self) -> Stakes:
        """The same of a bet on a fall."""
        return Stakes(self.down, self.up, self.touched, -self.untouched_return)


def expected_gain(probability: float, stakes: Stakes, costs: float) -> float:
    """What a bet brings on average, as a fraction of its size: T·(p·W − (1 − p)·L) + (1 − T)·R − costs.

    By the law of total expectation over how a bet ends. It comes to a barrier with probability T; then it wins W
    with probability p, which is what models give: of a rise, given that a barrier is touched at all; else it loses
    L. With 1 − T it comes to neither, and is closed at the horizon, which brings R on average. Costs are paid in
    each case. T and R are those of the calibration span; that they do not depend on p is the one assumption. Of a
    label of a fixed horizon T is nearly 1, and W and L stand for how far the price goes until then.

    Parameters
    ----------
    probability
        Of winning, given that a barrier is touched.
    stakes
        Of the side that is bet on.
    costs
        Of a round trip, as a fraction of the position.
    """
    decided = probability * stakes.up - (1 - probability) * stakes.down
    return stakes.touched * decided + (1 - stakes.touched) * stakes.untouched_return - costs


def confidence(probability: float) -> float:
    """Distance from a coin toss: 2·|p − .5|, 0..1."""
    return min(1.0, 2 * abs(probability - 0.5))
