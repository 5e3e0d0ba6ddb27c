"""How much labels overlap: many rows that look at the same bars are few witnesses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Overlap(NamedTuple):
    """Of the labels of one or more symbols."""

    concurrency: float  # labels that look at one bar, on average over the bars that any looks at
    uniqueness: float  # average over the labels, 0..1


def overlap(symbols: NDArray[np.int32], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> Overlap:
    """Average concurrency and uniqueness of labels (López de Prado 2018, chapter 4).

    Parameters
    ----------
    symbols
        Number of the symbol of each label: those of different symbols never overlap here. Shape (rows,).
    begins, ends
        Places of the first and the last bar that each label looks at. The same shape, at least one row.
    """
    bars, looks, unique = 0, 0, 0.0
    for symbol in np.unique(symbols):
        chosen = symbols == symbol
        first, last = begins[chosen], ends[chosen]
        origin = int(first.min())
        counts = _concurrency(first - origin, last - origin)
        shares = np.concatenate(
            ([0.0], np.cumsum(np.divide(1.0, counts, where=counts > 0, out=np.zeros(len(counts)))))
        )
        unique += float(((shares[last - origin + 1] - shares[first - origin]) / (last - first + 1)).sum())
        bars += int((counts > 0).sum())
        looks += int(counts.sum())
    return Overlap(looks / bars, min(1.0, unique / len(begins)))


def _concurrency(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of labels that look at each bar."""
    length = int(last.max()) + 2
    changes = np.bincount(first, minlength=length) - np.bincount(last + 1, minlength=length)
    counts: NDArray[np.int64] = np.cumsum(changes)[:-1]
    return counts
