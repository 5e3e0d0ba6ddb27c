"""Rows of all symbols, divided by time into three spans that know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.ml.history import Floats, History
from levibot.ml.labels import NONE, UP, barrier_labels
from levibot.ml.manifest import Label, Part, utc

_TRAIN, _TUNING = 0.6, 0.8  # shares of the time at which the later spans begin
_LEAST_ROWS = 200  # of a span; below that a score says nothing


class Boundaries(NamedTuple):
    """Opening times, in ms, at which the tuning and the test span begin."""

    tuning_ms: int
    test_ms: int


class Rows(NamedTuple):
    """Rows of any number of symbols in order of time."""

    open_ms: NDArray[np.int64]  # of the bars that are judged
    until_ms: NDArray[np.int64]  # ends of the intervals that the labels look at
    features: Floats
    labels: NDArray[np.float64]  # 0 or 1

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
        """Some of them, by a mask or by their places."""
        return Rows(self.open_ms[chosen], self.until_ms[chosen], self.features[chosen], self.labels[chosen])


class Split(NamedTuple):
    """Rows to fit on, to stop early on, and to judge on."""

    train: Rows
    tuning: Rows
    test: Rows


def boundaries(histories: Sequence[History]) -> Boundaries:
    """Where the spans begin: at fixed shares of the time that all rows with features cover.

    Raises
    ------
    TrainingError
        If there are none.
    """
    times = [history.bars.open_ms[history.judged[[0, -1]]] for history in histories if len(history.judged)]
    if not times:
        raise TrainingError("no bar has features: there are too few bars without a hole; give more candles")
    first, last = min(int(ends[0]) for ends in times), max(int(ends[1]) for ends in times)

    def at(share: float) -> int:
        minutes = int((last - first) * share) // MINUTE_MS
        return first + minutes * MINUTE_MS

    return Boundaries(at(_TRAIN), at(_TUNING))


def label_rows(histories: Sequence[History], label: Label) -> Rows:
    """Rows that have features and a label, of all symbols, in order of time."""
    parts = []
    for history in histories:
        labels = barrier_labels(history.bars, label)[history.judged]
        known = labels != NONE
        open_ms = history.bars.open_ms[history.judged][known]
        until_ms = open_ms + (label.horizon_bars + 1) * MINUTE_MS
        parts.append(Rows(open_ms, until_ms, history.features[known], (labels[known] == UP).astype(np.float64)))
    joined = Rows(
        np.concatenate([part.open_ms for part in parts]),
        np.concatenate([part.until_ms for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    return joined.take(np.argsort(joined.open_ms, kind="stable"))


def split(rows: Rows, begins: Boundaries, label: Label) -> Split:
    """Divide rows; those whose label looks into a later span are purged (López de Prado 2018, chapter 7).

    An embargo is not needed: no span is followed by one that is fitted on. `label` is what the rows were labelled
    by; an error tells it, since what is too far can only be mended by who knows how far it is.

    Raises
    ------
    TrainingError
        If a span has too few rows, or all of one class.
    """
    tuning_ms, test_ms = begins
    divided = Split(
        rows.take(rows.until_ms <= tuning_ms),
        rows.take((rows.open_ms >= tuning_ms) & (rows.until_ms <= test_ms)),
        rows.take(rows.open_ms >= test_ms),
    )
    for name, span in zip(divided._fields, divided, strict=True):
        _check_span(name, span, label)
    return divided


def describe(rows: Rows) -> Part:
    """What the manifest says of a span."""
    from_ms, until_ms = int(rows.open_ms[0]), int(rows.until_ms.max())
    return Part(
        from_ms=from_ms,
        until_ms=until_ms,
        from_utc=utc(from_ms),
        until_utc=utc(until_ms),
        rows=len(rows.labels),
        positives=float(rows.labels.mean()),
    )


def stretches(rows: Rows, horizon_bars: int) -> NDArray[np.int64]:
    """Number of the stretch of time, two horizons long, that each row lies in, whatever its symbol.

    Labels that look at the same bars say nearly the same, and symbols move together; so rows of one stretch
    are one witness, not many. Two horizons: of one, neighbours would still share half of what they look at.
    """
    numbers: NDArray[np.int64] = (rows.open_ms - rows.open_ms[0]) // (2 * horizon_bars * MINUTE_MS)
    return numbers


def _check_span(name: str, span: Rows, label: Label) -> None:
    count, positives = len(span.labels), int(span.labels.sum())
    barriers = f"+{label.take_profit:.2%} or -{label.stop_loss:.2%} within {label.horizon_bars} bars"
    if count < _LEAST_ROWS:
        raise TrainingError(
            f"the {name} span has {count} rows whose price touches a barrier, {barriers}, expected {_LEAST_ROWS} "
            "or more; give more candles, nearer barriers (--take-profit, --stop-loss) or a longer --horizon"
        )
    if positives in (0, count):
        found = "rises" if positives else "falls"
        raise TrainingError(
            f"the {name} span has only {found} ({barriers}), expected both; give more candles, or nearer barriers "
            "(--take-profit, --stop-loss)"
        )
