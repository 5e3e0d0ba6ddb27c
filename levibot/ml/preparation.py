"""What a training starts from: rows with their labels, divided by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from levibot.ml.features import FEATURES, LOOKBACK
from levibot.ml.history import History
from levibot.ml.labels import LEAST_IN_COSTS, REACH, default_distance, volatility
from levibot.ml.manifest import FURTHEST, Label
from levibot.ml.material import Material, Progress
from levibot.ml.rows import label_rows
from levibot.ml.splits import Split, boundaries, check, split


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    Parameters
    ----------
    name, exchange
        Of the model.
    horizon_bars
        Bars within which a barrier must be touched.
    costs
        Of a round trip, as a fraction; no barrier from volatility is nearer than three times that.
    kind, unit
        Of the label.
    take_profit, stop_loss
        Distances of the barriers in that unit; None: of fractions from the volatility of the training span,
        of sigmas as far as most rows reach.
    per_symbol
        Whether each symbol gets trees of its own.
    embargo_bars
        Left out after each boundary of the spans.
    test_from_ms
        Where the test begins; None: with the last fifth of the time.
    seed
        The same seed, data, threads and versions give the same model.
    threads
        More than one is faster.
    picture
        Whether SHAP values are drawn, if matplotlib is there.
    life_days
        Days after the newest bar until the model is too old to open a position; 0: never.
    """

    name: str
    exchange: str
    horizon_bars: int
    costs: float
    kind: Literal["triple_barrier", "fixed_horizon"] = "triple_barrier"
    unit: Literal["fraction", "sigma"] = "fraction"
    take_profit: float | None = None
    stop_loss: float | None = None
    per_symbol: bool = False
    embargo_bars: int = LOOKBACK
    test_from_ms: int | None = None
    seed: int = 1
    threads: int = 1
    picture: bool = True
    life_days: int = 0


class Prepared(NamedTuple):
    """All that a model is fitted and judged on."""

    symbols: tuple[str, ...]  # in the order of their numbers in the rows: that of their names
    histories: tuple[History, ...]
    features: tuple[str, ...]  # names of those that are not missing in all rows to fit on
    label: Label
    spans: Split  # with all features of the registry

    @property
    def seen(self) -> Split:
        """The spans with the features that a model sees."""
        return only(self.spans, self.features)

    def of_symbol(self, number: int) -> Split:
        """The spans of one symbol alone."""
        return Split(*(rows.take(rows.symbols == number) for rows in self.spans))


def prepare(material: Material, plan: Plan, progress: Progress) -> Prepared:
    """Compute features, label the rows and divide them; parameters and errors as of `levibot.ml.train.train`."""
    histories = material.histories(progress)
    progress("labelling", 0, None)
    begins = boundaries(histories, plan.test_from_ms)
    label = choose_label(plan, histories, begins.tuning_ms)
    spans = split(label_rows(histories, label), begins, plan.embargo_bars)
    check(spans, label)
    known = np.flatnonzero(np.any(~np.isnan(spans.train.features), axis=0))
    features = tuple(FEATURES[index] for index in known.tolist())
    return Prepared(material.symbols, tuple(histories), features, label, spans)


def only(spans: Split, names: Sequence[str]) -> Split:
    """The spans with these features alone, out of all of the registry."""
    columns = [FEATURES.index(name) for name in names]
    return Split(*(rows._replace(features=rows.features[:, columns]) for rows in spans))


def choose_label(plan: Plan, histories: Sequence[History], until_ms: int) -> Label:
    """The label of a plan; distances that it leaves open come from the volatility before `until_ms`."""
    if plan.unit == "sigma":
        default, least = REACH, min(LEAST_IN_COSTS * plan.costs, FURTHEST)
    else:
        sigma = volatility([history.bars for history in histories], until_ms)
        default, least = default_distance(sigma, plan.horizon_bars, plan.costs), 0.0
    return Label(
        kind=plan.kind,
        take_profit=plan.take_profit or default,
        stop_loss=plan.stop_loss or default,
        horizon_bars=plan.horizon_bars,
        unit=plan.unit,
        least=least,
    )
