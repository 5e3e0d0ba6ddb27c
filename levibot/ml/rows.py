"""Rows of all symbols with what came after them, in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.market.bars import MINUTE_MS
from levibot.ml.history import Floats, History
from levibot.ml.labels import NONE, outcomes
from levibot.ml.manifest import Label, Part, utc
from levibot.ml.overlap import overlap


class Rows(NamedTuple):
    """Rows of any number of symbols in order of time; of one minute, in order of the symbols."""

    symbols: NDArray[np.int32]  # numbers of the histories
    places: NDArray[np.int64]  # of the judged bars in these
    open_ms: NDArray[np.int64]  # of the judged bars
    until_ms: NDArray[np.int64]  # ends of the intervals that the labels may look at
    ends: NDArray[np.int64]  # places of the last bars that the labels do look at
    features: Floats
    labels: Floats  # 1 or 0; NaN: the price moved too little, so it is not fitted on
    long: Floats  # gross return of a bet on a rise, and of one on a fall: see `Outcomes`
    short: Floats

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
        """Some of them, by a mask or by their places."""
        return Rows(
            self.symbols[chosen],
            self.places[chosen],
            self.open_ms[chosen],
            self.until_ms[chosen],
            self.ends[chosen],
            self.features[chosen],
            self.labels[chosen],
            self.long[chosen],
            self.short[chosen],
        )

    def join(self, later: Rows) -> Rows:
        """These, and then those of a later span."""
        return Rows(
            np.concatenate((self.symbols, later.symbols)),
            np.concatenate((self.places, later.places)),
            np.concatenate((self.open_ms, later.open_ms)),
            np.concatenate((self.until_ms, later.until_ms)),
            np.concatenate((self.ends, later.ends)),
            np.concatenate((self.features, later.features)),
            np.concatenate((self.labels, later.labels)),
            np.concatenate((self.long, later.long)),
            np.concatenate((self.short, later.short)),
        )

    def labelled(self) -> Rows:
        """Those with a label: what is fitted on, and what a label's scores are of."""
        return self.take(~np.isnan(self.labels))


def label_rows(histories: Sequence[History], label: Label) -> Rows:
    """Rows that have features and a whole horizon after them, of all symbols, in order of time."""
    parts = [_rows_of(number, history, label) for number, history in enumerate(histories)]
    joined = Rows(*map(np.concatenate, zip(*parts, strict=True)))
    return joined.take(np.argsort(joined.open_ms, kind="stable"))


def describe(rows: Rows) -> Part:
    """What the manifest says of a span; `rows` with and without a label, at least one with."""
    known = rows.labelled()
    from_ms, until_ms = int(known.open_ms[0]), int(known.until_ms.max())
    untouched = rows.long[np.isnan(rows.labels)]
    overlapping = overlap(known.symbols, known.places + 1, known.ends)
    return Part(
        from_ms=from_ms,
        until_ms=until_ms,
        from_utc=utc(from_ms),
        until_utc=utc(until_ms),
        rows=len(known.labels),
        positives=float(known.labels.mean()),
        judged=len(rows.labels),
        concurrency=overlapping.concurrency,
        uniqueness=overlapping.uniqueness,
        untouched_return=float(untouched.mean()) if len(untouched) else None,
    )


def stretches(rows: Rows, horizon_bars: int) -> NDArray[np.int64]:
    """Number of the stretch of time, two horizons long, that each row lies in, whatever its symbol.

    Labels that look at the same bars say nearly the same, and symbols move together; so rows of one stretch
    are one witness, not many. Two horizons: of one, neighbours would still share half of what they look at.
    """
    numbers: NDArray[np.int64] = (rows.open_ms - rows.open_ms[0]) // (2 * horizon_bars * MINUTE_MS)
    return numbers


def _rows_of(number: int, history: History, label: Label) -> Rows:
    after = outcomes(history, label)
    kept = after.complete
    places = history.judged[kept]
    open_ms = history.bars.open_ms[places]
    return Rows(
        np.full(len(places), number, dtype=np.int32),
        places,
        open_ms,
        open_ms + (label.horizon_bars + 1) * MINUTE_MS,
        after.ends[kept] if label.kind == "triple_barrier" else places + label.horizon_bars,
        history.features[kept],
        np.where(after.labels == NONE, np.nan, after.labels)[kept],
        after.long[kept],
        after.short[kept],
    )
