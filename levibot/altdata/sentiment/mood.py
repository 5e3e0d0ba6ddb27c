"""From the scores of headlines to one number for an asset."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp2, fsum
from typing import NamedTuple


class Scored(NamedTuple):
    """A headline that has a score."""

    score: float  # -1..1
    published_ms: int


def mood(
    scored: Sequence[Scored],
    unscored_ms: Sequence[int],
    now_ms: int,
    *,
    half_life_ms: int,
    least: int,
    clamp: float,
) -> float | None:
    """Mean of the scores, a headline weighing half as much each `half_life_ms`; None of fewer than `least`.

    A single headline says little and may be a fake, so it is not believed alone; and however good or bad all
    of them sound, the result stays within `clamp`. While more is unread than read, by weight, there is none: with
    a scorer that fails, old headlines would go on as if they were today's mood.

    Parameters
    ----------
    scored
        Headlines that are young enough to count.
    unscored_ms
        When those were published that have no score, Unix ms.
    now_ms
        Unix ms.
    half_life_ms
        Above 0.
    least
        Headlines needed.
    clamp
        Most that the result is away from 0, 0..1.
    """
    if len(scored) < least or not scored:
        return None
    weights = [_weight(now_ms - item.published_ms, half_life_ms) for item in scored]
    total = fsum(weights)
    unread = fsum(_weight(now_ms - published_ms, half_life_ms) for published_ms in unscored_ms)
    if not total or unread > total:
        return None
    value = fsum(weight * item.score for weight, item in zip(weights, scored, strict=True)) / total
    return min(clamp, max(-clamp, value))


def _weight(age_ms: int, half_life_ms: int) -> float:
    return exp2(-max(0, age_ms) / half_life_ms)
