"""Rows divided by time into spans that know nothing of each other.

Train, tuning (stops early, chooses settings), calibration, test: in this order of time, so that each step is
judged on what came later, across all symbols at once, because they move together. Rows whose label could look
past the end of their span are purged; and the first bars of a span are left out (the embargo), so that no bar that
features of the later span look back on was looked at by a label of the earlier (López de Prado 2018, chapter 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.ml.history import History
from levibot.ml.manifest import Label, utc
from levibot.ml.rows import Rows

_TEST = 0.8  # share of the time at which the test begins, where it is not told
_TUNING, _CALIBRATION = 0.75, 0.875  # shares of the time before the test
LEAST_ROWS = 200  # of a span; below that a score says nothing


class Boundaries(NamedTuple):
    """Opening times, in ms, at which the later spans begin."""

    tuning_ms: int
    calibration_ms: int
    test_ms: int


class Split(NamedTuple):
    """Rows to fit on, to stop early and choose on, to calibrate on, and to judge on; some without a label."""

    train: Rows
    tuning: Rows
    calibration: Rows
    test: Rows


class Fold(NamedTuple):
    """Places of the rows to fit on, and of those to judge on, which all come later."""

    fit: NDArray[np.intp]
    judge: NDArray[np.intp]


def boundaries(histories: Sequence[History], test_from_ms: int | None = None) -> Boundaries:
    """Where the spans begin, in the time that all rows with features cover.

    Parameters
    ----------
    histories
        Of all symbols.
    test_from_ms
        Where the test begins; None: at a fixed share of the time.

    Raises
    ------
    TrainingError
        If there are no rows, or the test would leave none before or after it.
    """
    times = [history.bars.open_ms[history.judged[[0, -1]]] for history in histories if len(history.judged)]
    if not times:
        raise TrainingError("no bar has features: there are too few bars without a hole; give more candles")
    first, last = min(int(ends[0]) for ends in times), max(int(ends[1]) for ends in times)
    if test_from_ms is not None and not first < test_from_ms <= last:
        raise TrainingError(
            f"the test would begin at {utc(test_from_ms)}, expected a time within the candles: after "
            f"{utc(first)}, up to {utc(last)}; correct --test-from, or give other candles"
        )

    def at(share: float, until_ms: int) -> int:
        return first + int((until_ms - first) * share) // MINUTE_MS * MINUTE_MS

    test_ms = at(_TEST, last) if test_from_ms is None else test_from_ms
    return Boundaries(at(_TUNING, test_ms), at(_CALIBRATION, test_ms), test_ms)


def split(rows: Rows, begins: Boundaries, embargo_bars: int) -> Split:
    """Divide rows; purge what looks past its span, and leave out `embargo_bars` after each boundary."""
    edges = (None, *begins, None)
    return Split(*(rows.take(_between(rows, since, until, embargo_bars)) for since, until in pairwise(edges)))


def check(spans: Split, label: Label) -> None:
    """Demand enough rows of both classes in each span.

    Raises
    ------
    TrainingError
        If a span has too few. The text tells `label`: what is too far is only mended by who knows how far.
    """
    for name, span in zip(spans._fields, spans, strict=True):
        _check_span(name, span, label)


def walk_forward(rows: Rows, folds: int, embargo_bars: int, window: int | None = None) -> list[Fold]:
    """Folds that each are judged on what comes right after what they were fitted on.

    The time is cut into ``folds + 1`` parts of equal length. Fold k is fitted on the parts up to k and judged on
    the one after, purged and embargoed as the spans are.

    Parameters
    ----------
    rows
        With labels, in order of time.
    folds
        How many.
    embargo_bars
        Bars left out at the beginning of what is judged.
    window
        Number of parts, the newest, that a fold is fitted on; None: all, so the folds expand.

    Raises
    ------
    TrainingError
        If a fold has too few rows, or all of one class.
    """
    first, last = int(rows.open_ms[0]), int(rows.open_ms[-1])
    edges = [first + (last - first) * part // (folds + 1) for part in range(folds + 1)]
    made = []
    for number, (until, end) in enumerate(zip(edges[1:], [*edges[2:], None], strict=True), start=1):
        since = edges[max(0, number - window)] if window else None
        fold = Fold(
            np.flatnonzero(_between(rows, since, until, 0)),
            np.flatnonzero(_between(rows, until, end, embargo_bars)),
        )
        for part in fold:
            found = rows.labels[part]
            if len(found) < LEAST_ROWS or found.min() == found.max():
                raise TrainingError(
                    f"fold {number} of {folds} has {len(found)} rows of {len(np.unique(found))} classes to fit or "
                    f"judge on, expected {LEAST_ROWS} or more of both; give more candles, or fewer folds"
                )
        made.append(fold)
    return made


def _between(rows: Rows, since_ms: int | None, until_ms: int | None, embargo_bars: int) -> NDArray[np.bool_]:
    """Rows of a span: after its embargo, and with labels that end within it; None: it is open on that side."""
    chosen = np.ones(len(rows.open_ms), dtype=np.bool_)
    if since_ms is not None:
        chosen &= rows.open_ms >= since_ms + embargo_bars * MINUTE_MS
    if until_ms is not None:
        chosen &= rows.until_ms <= until_ms
    return chosen


def _check_span(name: str, span: Rows, label: Label) -> None:
    known = span.labels[~np.isnan(span.labels)]
    count, positives = len(known), int(known.sum())
    asked = question(label)
    if count < LEAST_ROWS:
        raise TrainingError(
            f"the {name} span has {count} rows with an answer ({asked}), expected {LEAST_ROWS} "
            "or more; give more candles, nearer barriers (--take-profit, --stop-loss) or another --horizon; "
            "a smaller --embargo leaves more"
        )
    if positives in (0, count):
        found = "rises" if positives else "falls"
        raise TrainingError(
            f"the {name} span has only {found} ({asked}), expected both; give more candles, or nearer barriers "
            "(--take-profit, --stop-loss)"
        )


def question(label: Label) -> str:
    """What a model is asked, in words."""
    if label.kind == "fixed_horizon":
        return f"higher after {label.horizon_bars} bars"
    if label.unit == "fraction":
        up, down = f"+{label.take_profit:.2%}", f"-{label.stop_loss:.2%}"
    else:
        up, down = f"+{label.take_profit:g}σ", f"-{label.stop_loss:g}σ (at least {label.least:.2%})"
    return f"{up} before {down}, within {label.horizon_bars} bars"
