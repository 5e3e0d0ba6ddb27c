"""Concurrency and uniqueness of labels agree with their definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.ml.overlap import overlap

_LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=25)


@given(_LABELS)
def test_they_are_what_lopez_de_prado_defines(labels: list[tuple[int, int, int]]) -> None:
    counts: dict[tuple[int, int], int] = {}
    for symbol, begin, length in labels:
        for bar in range(begin, begin + length + 1):
            counts[symbol, bar] = counts.get((symbol, bar), 0) + 1
    unique = [
        np.mean([1 / counts[symbol, bar] for bar in range(begin, begin + length + 1)])
        for symbol, begin, length in labels
    ]
    symbols, begins, lengths = (np.array(column) for column in zip(*labels, strict=True))
    found = overlap(symbols.astype(np.int32), begins, begins + lengths)
    assert found.uniqueness == pytest.approx(float(np.mean(unique)))
    assert found.concurrency == pytest.approx(float(np.mean(list(counts.values()))))


def test_labels_of_every_bar_are_as_unique_as_their_horizon_is_short() -> None:
    begins = np.arange(1000)
    found = overlap(np.zeros(1000, dtype=np.int32), begins, begins + 19)
    assert found.uniqueness == pytest.approx(1 / 20, rel=0.05)
    assert found.concurrency == pytest.approx(20, rel=0.05)
    apart = overlap(np.zeros(50, dtype=np.int32), begins[::20], begins[::20] + 19)
    assert (apart.concurrency, apart.uniqueness) == (1.0, pytest.approx(1.0))
