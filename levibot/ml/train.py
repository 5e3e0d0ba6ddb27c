"""Training: candles in, a judged LightGBM model out; the features are those that serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from levibot import __version__
from levibot.clock import wall_ms
from levibot.errors import TrainingError
from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.ml.boosting import MOST_TREES, Fitted, default_params, fit, fixed_params, ranges
from levibot.ml.features import FEATURE_VERSIONS, FEATURES, WINDOW
from levibot.ml.history import Floats, History, read_histories
from levibot.ml.labels import LEAST_IN_COSTS, REACH, default_distance, volatility
from levibot.ml.manifest import FURTHEST, MODEL, Label, Manifest, ModelFile, utc
from levibot.ml.provenance import commit, data_digest, libraries
from levibot.ml.rows import Rows, describe, label_rows, stretches
from levibot.ml.scores import score
from levibot.ml.splits import Split, boundaries, check, split
from levibot.symbols import on_disk

_DAY_MS = 86_400_000


# Told how far a training has come: the stage, and how many of how many steps of it (None: not known).
Progress = Callable[[str, int, int | None], None]


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
    embargo_bars: int = WINDOW - 1
    test_from_ms: int | None = None
    seed: int = 1
    threads: int = 1
    life_days: int = 0


class Prepared(NamedTuple):
    """All that a model is fitted and judged on."""

    symbols: tuple[str, ...]  # in the order of their numbers in the rows: that of their names
    histories: tuple[History, ...]
    features: tuple[str, ...]  # names of those that are not missing in all rows to fit on
    label: Label
    spans: Split

    def of_symbol(self, number: int) -> Split:
        """The spans of one symbol alone."""
        return Split(*(rows.take(rows.symbols == number) for rows in self.spans))


class Trained(NamedTuple):
    """A model that is not stored yet."""

    manifest: Manifest
    contents: dict[str, bytes]  # of its files
    test: Rows  # what it was judged on, all with a label; nothing was fitted or chosen on them


def train(
    candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, plan: Plan, progress: Progress
) -> Trained:
    """Train and judge a model, of all symbols together or of each.

    Parameters
    ----------
    candles
        By symbol: bars and holes, oldest first.
    bars
        How many bars that will be, if known.
    plan
        What is to be trained.
    progress
        Told how far it has come.

    Raises
    ------
    TrainingError
        If the data are too few, or all of one class.
    MarketDataError
        If a candle is bad.
    """
    data = prepare(candles, bars, plan, progress)
    params = {**default_params(len(data.spans.train.labels)), **fixed_params(plan.seed, plan.threads)}
    models = fit_models(data, params, plan, progress)
    spans, now_ms = data.spans, wall_ms()
    judged = spans.test.labelled()
    newest_ms = max(int(history.bars.open_ms[-1]) for history in data.histories if len(history.judged))
    contents = {_file_name(fitted): fitted.text for fitted in models}
    manifest = Manifest(
        name=plan.name,
        version="",  # this, and the files' digests, are the store's
        exchange=plan.exchange,
        features=data.features,
        feature_versions=tuple(FEATURE_VERSIONS[name] for name in data.features),
        ranges=ranges(_only(spans, data.features).train.labelled().features),
        symbols=data.symbols,
        label=data.label,
        data_sha256=data_digest(data.symbols, FEATURES, spans),
        train=describe(spans.train),
        tuning=describe(spans.tuning),
        calibration=describe(spans.calibration),
        test=describe(spans.test),
        scores=score(
            judged.labels,
            predict(models, judged, data.symbols),
            float(np.nanmean(spans.train.labels)),
            stretches(judged, data.label.horizon_bars),
        ),
        seed=plan.seed,
        params=params,
        libraries=libraries(),
        levibot=__version__,
        commit=commit(),
        created_ms=now_ms,
        created_utc=utc(now_ms),
        expires_ms=newest_ms + plan.life_days * _DAY_MS if plan.life_days else 0,
        files=tuple(_described(fitted, contents) for fitted in models),
    )
    return Trained(manifest, contents, judged)


def remade(
    candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, label: Label, progress: Progress
) -> Rows:
    """Labelled rows of candles, as a training makes them: to judge a stored model once more."""
    histories = _read({symbol: candles[symbol] for symbol in sorted(candles)}, bars, progress)
    return label_rows(histories, label).labelled()


def prepare(
    candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, plan: Plan, progress: Progress
) -> Prepared:
    """Compute features, label the rows and divide them; parameters and errors are those of `train`."""
    symbols = tuple(sorted(candles))
    histories = _read({symbol: candles[symbol] for symbol in symbols}, bars, progress)
    progress("labelling", 0, None)
    begins = boundaries(histories, plan.test_from_ms)
    label = choose_label(plan, histories, begins.tuning_ms)
    spans = split(label_rows(histories, label), begins, plan.embargo_bars)
    check(spans, label)
    known = np.flatnonzero(np.any(~np.isnan(spans.train.features), axis=0))
    features = tuple(FEATURES[index] for index in known.tolist())
    return Prepared(symbols, tuple(histories), features, label, spans)


def fit_models(
    data: Prepared, params: Mapping[str, str | int | float | bool], plan: Plan, progress: Progress
) -> list[Fitted]:
    """Trees for all symbols together, or for each; errors are those of `train`."""
    if not plan.per_symbol:
        return [
            fit(_only(data.spans, data.features), params, data.features, partial(_tell, progress, "growing trees"))
        ]
    models = []
    for number, symbol in enumerate(data.symbols):
        spans = data.of_symbol(number)
        try:
            check(spans, data.label)
        except TrainingError as error:
            raise TrainingError(f"{symbol}: {error}; or one model of all symbols: --no-per-symbol") from error
        grown = partial(_tell, progress, f"growing trees of {symbol}")
        models.append(fit(_only(spans, data.features), params, data.features, grown, symbol))
    return models


def _only(spans: Split, names: Sequence[str]) -> Split:
    columns = [FEATURES.index(name) for name in names]
    return Split(*(rows._replace(features=rows.features[:, columns]) for rows in spans))


def predict(models: Sequence[Fitted], rows: Rows, symbols: Sequence[str]) -> Floats:
    """Calibrated probabilities of rows, each by the trees of its symbol; shape (rows,)."""
    found = np.full(len(rows.labels), np.nan)
    for fitted in models:
        chosen = rows.symbols == symbols.index(fitted.symbol) if fitted.symbol else np.ones(len(found), np.bool_)
        if chosen.any():
            columns = [FEATURES.index(name) for name in fitted.booster.feature_name()]
            found[chosen] = fitted.probabilities(rows.features[chosen][:, columns])
    return found


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


def _read(candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, progress: Progress) -> list[History]:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress("computing features", done, bars)

    report(0)
    return list(read_histories(candles, "", report).values())


def _tell(progress: Progress, stage: str, tree: int) -> None:
    progress(stage, tree, MOST_TREES)


def _file_name(fitted: Fitted) -> str:
    return f"model-{on_disk(fitted.symbol)}.txt" if fitted.symbol else MODEL


def _described(fitted: Fitted, contents: Mapping[str, bytes]) -> ModelFile:
    name = _file_name(fitted)
    return ModelFile(
        name=name,
        symbol=fitted.symbol,
        sha256="0" * 64,
        size_bytes=len(contents[name]),
        trees=fitted.booster.best_iteration,
        calibration=fitted.calibration,
    )
