"""Training: candles in, a judged LightGBM model out; the features are those that serve."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from levibot.errors import TrainingError
from levibot.ml.boosting import MOST_TREES, Fitted, Params, default_params, fit, fixed_params
from levibot.ml.features import FEATURES, REGISTRY
from levibot.ml.history import Floats
from levibot.ml.importance import measure, picture
from levibot.ml.leaks import find_leaks
from levibot.ml.manifest import MODEL, Label, ModelFile
from levibot.ml.material import Material, Progress
from levibot.ml.preparation import Plan, Prepared, only, prepare
from levibot.ml.provenance import data_digest
from levibot.ml.rows import Rows, label_rows
from levibot.ml.splits import check
from levibot.ml.trained import Made, Trained, describe_training, new_file
from levibot.ml.tuning import Search, tune
from levibot.symbols import on_disk

IMPORTANCE, PICTURE = "importance.json", "shap.png"
_LIBRARIES = ("lightgbm", "numpy")


def train(material: Material, plan: Plan, progress: Progress, search: Search | None = None) -> Trained:
    """Train and judge a model, of all symbols together or of each.

    Parameters
    ----------
    material
        Candles of the symbols, and what goes with them.
    plan
        What is to be trained.
    progress
        Told how far it has come.
    search
        For better settings, once for all symbols; None: the defaults.

    Raises
    ------
    TrainingError
        If the data are too few, or all of one class.
    MarketDataError
        If a candle is bad.
    """
    data = prepare(material, plan, progress)
    digest = data_digest(data.symbols, FEATURES, data.spans)
    seen = data.seen
    params, summary = choose_params(data, plan, digest, search, progress)
    models = fit_models(data, params, plan, progress)
    progress("looking for leaks", 0, None)
    planted = plan.exchange == "simulated"
    leaks = find_leaks(data.histories, seen, data.features, params, planted=planted)
    progress("judging", 0, None)
    judged = data.spans.test.labelled()
    contents = {_file_name(fitted): fitted.text for fitted in models}
    files = [_described(fitted) for fitted in models]
    found = measure(models, seen.test.labelled(), data.symbols, data.features)
    beside = {IMPORTANCE: found.document()}
    shown = picture(found) if plan.picture else None
    if shown is not None:
        beside[PICTURE] = shown
    made = Made(
        kind="lightgbm",
        features=data.features,
        spans=data.spans,
        data_sha256=digest,
        contents={**contents, **beside},
        files=(*files, *(new_file(name, content) for name, content in beside.items())),
        probabilities=predict(models, judged, data.symbols),
        leaks=leaks,
        params={**params, **summary},
        libraries=_LIBRARIES,
        context=material.leads if _knows_context(data.features) else "",
        importance=found,
    )
    return describe_training(plan, data, made, judged)


def remade(material: Material, label: Label, progress: Progress) -> Rows:
    """Labelled rows as a training makes them: to judge a stored model once more."""
    return label_rows(material.histories(progress), label).labelled()


def choose_params(
    data: Prepared, plan: Plan, digest: str, search: Search | None, progress: Progress
) -> tuple[dict[str, str | int | float | bool], dict[str, str | int | float | bool]]:
    """Settings of the trees, and what the manifest says of the search for them; errors are those of `train`."""
    rows = int(np.isfinite(data.spans.train.labels).sum()) // (len(data.symbols) if plan.per_symbol else 1)
    params = {**default_params(rows), **fixed_params(plan.seed, plan.threads)}
    if search is None:
        return params, {}
    known = data.seen.train.join(data.seen.tuning).labelled()
    study = f"{plan.name}-{digest[:16]}"
    tuned = tune(
        known, plan.embargo_bars, data.features, study, search, partial(_tell_trial, progress, search.trials)
    )
    return {**params, **tuned.params}, tuned.summary


def fit_models(data: Prepared, params: Params, plan: Plan, progress: Progress) -> list[Fitted]:
    """Trees for all symbols together, or for each; errors are those of `train`."""
    if not plan.per_symbol:
        return [fit(data.seen, params, data.features, partial(_tell, progress, "growing trees"))]
    models = []
    for number, symbol in enumerate(data.symbols):
        spans = data.of_symbol(number)
        try:
            check(spans, data.label)
        except TrainingError as error:
            raise TrainingError(f"{symbol}: {error}; or one model of all symbols: --no-per-symbol") from error
        grown = partial(_tell, progress, f"growing trees of {symbol}")
        models.append(fit(only(spans, data.features), params, data.features, grown, symbol))
    return models


def predict(models: Sequence[Fitted], rows: Rows, symbols: Sequence[str]) -> Floats:
    """Calibrated probabilities of rows, each by the trees of its symbol; shape (rows,)."""
    found = np.full(len(rows.labels), np.nan)
    for fitted in models:
        chosen = fitted.answers_for(rows, symbols)
        if chosen.any():
            columns = [FEATURES.index(name) for name in fitted.booster.feature_name()]
            found[chosen] = fitted.probabilities(rows.features[chosen][:, columns])
    return found


def _knows_context(names: Sequence[str]) -> bool:
    return any(feature.group == "context" and feature.name in names for feature in REGISTRY)


def _tell(progress: Progress, stage: str, tree: int) -> None:
    progress(stage, tree, MOST_TREES)


def _tell_trial(progress: Progress, trials: int, done: int) -> None:
    progress("tuning", done, trials)


def _file_name(fitted: Fitted) -> str:
    return f"model-{on_disk(fitted.symbol)}.txt" if fitted.symbol else MODEL


def _described(fitted: Fitted) -> ModelFile:
    return new_file(
        _file_name(fitted),
        fitted.text,
        symbol=fitted.symbol,
        trees=fitted.booster.best_iteration,
        calibration=fitted.calibration,
    )
