"""Signs that rows, labels or features know the future: each is an alarm, and a model with one must not serve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from levibot.market.bars import MINUTE_MS
from levibot.ml.boosting import Params, grow
from levibot.ml.features import FEATURES
from levibot.ml.history import History, Source, history_of
from levibot.ml.manifest import utc
from levibot.ml.rows import Rows
from levibot.ml.scores import auc
from levibot.ml.splits import Split

_ERRORS = 4.0  # standard errors: chance goes as far once in 16 000 times
# No causal feature of a liquid market is known to rank its next minutes or hours better than .6; who bet on one of
# .7 alone would be right on two of three bets, thousands of times a year.
_MOST_KNOWING = 0.7
_MOST_KNOWING_PLANTED = 0.97  # the simulated market has a pattern to be found; a leak still shows
_MOST_ROWS = 20_000  # that a feature is judged on
_SAMPLES = 40  # rows whose features are computed again
_PAST = 200  # bars that they are computed from; more than any window
_SAME = 1e-9

Compute = Callable[[Source], History]


def find_leaks(
    histories: Sequence[History], spans: Split, names: Sequence[str], params: Params, *, planted: bool
) -> tuple[str, ...]:
    """Look for leaks in every way that is known here; the alarms, in words.

    Parameters
    ----------
    histories
        Of the symbols, by their numbers.
    spans
        As the model is fitted and judged on.
    names
        Of the features.
    params
        Of the trees; their seed is that of all draws.
    planted
        Whether the market has a pattern that features are meant to find.
    """
    seed = int(params["seed"])
    return (
        *overlapping_spans(spans),
        *too_knowing(spans.train.labelled(), names, planted=planted),
        *(
            alarm
            for history in histories
            for alarm in later_bars_matter(history, FEATURES, history_of, max(5, _SAMPLES // len(histories)), seed)
        ),
        *learns_from_shuffled(spans, names, params, seed),
    )


def overlapping_spans(spans: Split) -> list[str]:
    """Whether a label of one span looks at a bar that is judged in a later one."""
    alarms = []
    for (earlier, before), (later, after) in pairwise(zip(spans._fields, spans, strict=True)):
        if before.until_ms.max() > after.open_ms.min():
            until, begin = utc(int(before.until_ms.max())), utc(int(after.open_ms.min()))
            alarms.append(
                f"a label of the {earlier} span looks until {until}, but the {later} span begins at {begin}"
            )
    return alarms


def too_knowing(rows: Rows, names: Sequence[str], *, planted: bool) -> list[str]:
    """Whether one feature alone ranks the labels implausibly well; `rows` all have one."""
    most = _MOST_KNOWING_PLANTED if planted else _MOST_KNOWING
    sample = rows.take(np.linspace(0, len(rows.labels) - 1, min(_MOST_ROWS, len(rows.labels))).astype(np.intp))
    horizon_ms = int((rows.until_ms - rows.open_ms).max())
    witnesses = max(4, int(rows.open_ms[-1] - rows.open_ms[0]) // horizon_ms)  # labels that hardly overlap
    chance = _ERRORS * math.sqrt((witnesses + 1) / 3) / witnesses  # of the AUC, both classes alike (Mann–Whitney)
    alarms = []
    for name, values in zip(names, sample.features.T, strict=True):
        known = ~np.isnan(values)
        labels = sample.labels[known]
        if not 0 < labels.sum() < len(labels):
            continue
        found = auc(labels, values[known])
        if abs(found - 0.5) > max(most - 0.5, chance):
            alarms.append(
                f"the feature {name} alone has an AUC of {found:.3f} on the training span, expected no more than "
                f"{most} either way: it may know what comes"
            )
    return alarms


def later_bars_matter(
    history: History, names: Sequence[str], compute: Compute, samples: int, seed: int
) -> list[str]:
    """Whether features change when they are computed from what was known at the close of their bar alone.

    That is done on rows drawn at random, for every feature: no bar of the symbol or of the leading market that
    closed later is known, and nothing that was fetched later.
    """
    if not len(history.judged):
        return []
    if history.source is None:
        return ["features cannot be computed again: what they were made from is not at hand"]
    drawn = np.random.default_rng(seed).choice(
        len(history.judged), min(samples, len(history.judged)), replace=False
    )
    wrong: dict[str, int] = {}
    for row in drawn.tolist():
        last = int(history.judged[row])
        again = compute(_known_at(history.source, last))
        if not len(again.judged) or again.judged[-1] != min(last, _PAST):
            wrong["all of them"] = last
            continue
        same = np.isclose(again.features[-1], history.features[row], rtol=_SAME, atol=_SAME, equal_nan=True)
        wrong.update({names[column]: last for column in np.flatnonzero(~same).tolist()})
    return [
        f"the feature {name} of {utc(int(history.bars.open_ms[place]))} is another where nothing later is known"
        for name, place in wrong.items()
    ]


def _known_at(source: Source, place: int) -> Source:
    """What of `source` was known when the bar at `place` closed, as far back as any feature looks."""
    bars = source.bars.slice(max(0, place - _PAST), min(place, _PAST) + 1)
    close_ms = int(bars["open_ms"][-1]) + MINUTE_MS
    context = source.context
    if context is not None:
        until = int(np.searchsorted(context["open_ms"].to_numpy(), close_ms))  # they close when the next opens
        context = context.slice(max(0, until - _PAST), min(until, _PAST))
    return Source(bars, context, [data for data in source.altdata if data.fetched_ms <= close_ms])


def learns_from_shuffled(spans: Split, names: Sequence[str], params: Params, seed: int) -> list[str]:
    """Whether trees that are grown on labels drawn at random are right on the test span more often than chance.

    A row keeps its drawn label wherever it turns up; so rows that are fitted on and judged on show.
    """
    known = [span.labelled() for span in (spans.train, spans.tuning, spans.test)]
    keys = np.concatenate([rows.symbols.astype(np.int64) << 40 | rows.places for rows in known])
    _, places = np.unique(keys, return_inverse=True)
    labels = np.concatenate([rows.labels for rows in known])
    drawn = np.random.default_rng(seed).permutation(labels)[places]
    ends = np.cumsum([len(rows.labels) for rows in known])[:-1]
    train, tuning, test = (
        rows._replace(labels=part) for rows, part in zip(known, np.split(drawn, ends), strict=True)
    )
    booster = grow(train, tuning, params, tuple(names), lambda _tree: None)
    found = auc(test.labels, booster.predict(test.features, num_threads=1))
    positives = test.labels.sum()
    negatives = len(test.labels) - positives
    chance = _ERRORS * math.sqrt((len(test.labels) + 1) / (12 * positives * negatives))
    if abs(found - 0.5) <= chance:
        return []
    return [f"labels drawn at random are told apart with an AUC of {found:.3f}, chance goes to {0.5 + chance:.3f}"]
