"""Durations counted by size, as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts durations.

    Parameters
    ----------
    bounds
        Upper bounds of the buckets in seconds, ascending and inclusive; one more bucket is without bound.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.seconds = 0.0  # sum of all
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[int]:
        """How many took no longer than each bound, and then how many there were."""
        return list(accumulate(self._counts))
