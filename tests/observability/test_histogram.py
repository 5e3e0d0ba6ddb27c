"""Durations counted by size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.observability.histogram import Histogram

BOUNDS = (0.001, 0.01, 0.1)


@given(st.lists(st.floats(0, 1)))
def test_each_count_is_of_the_durations_up_to_its_bound(durations: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for duration in durations:
        histogram.observe(duration)
    expected = [sum(duration <= bound for duration in durations) for bound in BOUNDS]
    assert histogram.cumulative() == [*expected, len(durations)]
    assert histogram.seconds == pytest.approx(sum(durations))
