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


def expected_gain(probability: float, win: float, loss: float, costs: float) -> float:
    """What a bet brings on average, as a fraction of its size: p·W − (1 − p)·L − costs.

    Parameters
    ----------
    probability
        Of winning.
    win, loss
        Distances of the barriers from the entry, above 0, as fractions of the price.
    costs
        Of a round trip, as a fraction of the position.
    """
    return probability * win - (1 - probability) * loss - costs


def confidence(probability: float) -> float:
    """Distance from a coin toss: 2·|p − .5|, 0..1."""
    return min(1.0, 2 * abs(probability - 0.5))
