"""What knows the future is found out, and what is honest raises no alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import polars
import pytest

from levibot.bus.messages import AltData
from levibot.market.bars import MINUTE_MS
from levibot.ml.boosting import default_params, fixed_params
from levibot.ml.features import FEATURES
from levibot.ml.features.registry import REGISTRY
from levibot.ml.history import Floats, History, Source, history_of
from levibot.ml.leaks import (
    find_leaks,
    later_bars_matter,
    learns_from_shuffled,
    overlapping_spans,
    too_knowing,
)
from levibot.ml.manifest import Label
from levibot.ml.rows import Rows, label_rows
from levibot.ml.splits import Split, boundaries, split
from tests.ml.examples import read_history, walk
from tests.ml.features.streams import altdata, frame, with_flow

LABEL = Label(take_profit=0.004, stop_loss=0.004, horizon_bars=30)
PARAMS = {**default_params(4000), **fixed_params(1, 1)}
HISTORIES = [read_history(walk(4000, seed=seed)) for seed in (1, 2)]
SPANS = split(label_rows(HISTORIES, LABEL), boundaries(HISTORIES), 60)


def with_feature(rows: Rows, values: Floats) -> Rows:
    """Rows whose first feature is another."""
    return rows._replace(features=np.column_stack([values, rows.features[:, 1:]]))


def test_an_honest_random_walk_raises_no_alarm() -> None:
    assert find_leaks(HISTORIES, SPANS, FEATURES, PARAMS, planted=False) == ()


def test_a_feature_that_hints_at_the_label_is_found() -> None:
    rows = SPANS.train.labelled()
    draw = np.random.default_rng(1)
    leaky = with_feature(rows, rows.labels + draw.normal(0, 0.5, len(rows.labels)))
    (alarm,) = too_knowing(leaky, FEATURES, planted=False)
    assert alarm.startswith(f"the feature {FEATURES[0]} alone has an AUC of 0.9")
    assert too_knowing(with_feature(rows, -rows.labels), FEATURES, planted=True), "the wrong way round as well"
    missing = np.where(draw.random(len(rows.labels)) < 0.9, np.nan, rows.labels)
    assert too_knowing(with_feature(rows, missing), FEATURES, planted=True), "where it is there at all"
    assert too_knowing(with_feature(rows, np.full(len(rows.labels), np.nan)), FEATURES, planted=True) == []


WITH_ALL = Source(
    frame(with_flow(list(walk(1200)), seed=1)),
    frame(walk(1200, seed=9)),
    altdata(list(walk(1200)), seed=2),
)


def leaking(peek: Callable[[Source], Source]) -> Callable[[Source], History]:
    """Features by the code that trains, but with what `peek` makes known too early."""
    return lambda source: history_of(peek(source))._replace(source=source)


def a_bar_early(bars: polars.DataFrame) -> polars.DataFrame:
    return bars.with_columns(polars.col("buy_volume", "trades", "spread", "imbalance").shift(-1))


def context_early(context: polars.DataFrame) -> polars.DataFrame:
    return context.with_columns(open_ms=polars.col("open_ms") - 2 * MINUTE_MS)


def fetched_early(values: Sequence[AltData]) -> list[AltData]:
    """As if each were known when what it tells of began."""
    return [msgspec.structs.replace(data, fetched_ms=data.fetched_ms - 30 * MINUTE_MS) for data in values]


@pytest.mark.parametrize(
    ("peek", "group"),
    [
        (lambda source: source._replace(bars=a_bar_early(source.bars)), "flow"),
        (lambda source: source._replace(context=context_early(source.context)), "context"),
        (lambda source: source._replace(altdata=fetched_early(source.altdata)), "altdata"),
    ],
)
def test_a_feature_of_any_group_that_knows_what_comes_is_found(
    peek: Callable[[Source], Source], group: str
) -> None:
    leaky = leaking(peek)
    alarms = later_bars_matter(leaky(WITH_ALL), FEATURES, leaky, 20, seed=1)
    found = {alarm.split()[2] for alarm in alarms}
    assert found
    assert found <= {feature.name for feature in REGISTRY if feature.group in (group, "book")}
    assert all(alarm.endswith("is another where nothing later is known") for alarm in alarms)


def test_features_that_know_nothing_of_what_comes_raise_no_alarm() -> None:
    assert later_bars_matter(history_of(WITH_ALL), FEATURES, history_of, 40, seed=1) == []
    forgotten = history_of(WITH_ALL)._replace(source=None)
    assert later_bars_matter(forgotten, FEATURES, history_of, 40, seed=1)


def peeking(source: Source) -> History:
    """Features by the code that serves, the first of which is the next bar's return."""
    history = history_of(source)
    ahead = np.append(np.diff(np.log(history.bars.close)), 0.0)
    features = np.column_stack([ahead[history.judged], history.features[:, 1:]])
    return history._replace(features=features)


def test_a_feature_that_later_bars_change_is_found() -> None:
    history = peeking(Source(frame(walk(400, seed=1))))
    (alarm,) = later_bars_matter(history, FEATURES, peeking, 20, seed=1)
    assert alarm.startswith(f"the feature {FEATURES[0]} of 2025-01-01T")


def test_rows_that_are_fitted_on_and_judged_on_show_by_labels_that_mean_nothing() -> None:
    assert learns_from_shuffled(SPANS, FEATURES, PARAMS, 1) == []
    seen = Split(SPANS.train, SPANS.train, SPANS.calibration, SPANS.train)
    (alarm,) = learns_from_shuffled(seen, FEATURES, {**PARAMS, "num_leaves": 31}, 1)
    assert alarm.startswith("labels drawn at random are told apart with an AUC of ")


def test_spans_that_overlap_in_time_are_found() -> None:
    assert overlapping_spans(SPANS) == []
    late = SPANS.tuning._replace(until_ms=SPANS.tuning.until_ms + 61 * MINUTE_MS)
    (alarm,) = overlapping_spans(SPANS._replace(tuning=late))
    assert alarm.startswith("a label of the tuning span looks until 2025-01-0")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chance_alone_raises_no_alarm(seed: int) -> None:
    assert learns_from_shuffled(SPANS, FEATURES, PARAMS, seed) == []
