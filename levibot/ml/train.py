"""Training: candles in, a judged LightGBM model out; the features are those that serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from levibot import __version__
from levibot.clock import wall_ms
from levibot.errors import TrainingError
from levibot.ml.boosting import MOST_TREES, Fitted, Params, default_params, fit, fixed_params, ranges
from levibot.ml.card import write_card
from levibot.ml.features import FEATURE_VERSIONS, FEATURES, REGISTRY
from levibot.ml.history import Floats
from levibot.ml.importance import measure, picture
from levibot.ml.leaks import find_leaks
from levibot.ml.manifest import MODEL, Label, Manifest, ModelFile, utc
from levibot.ml.material import Material, Progress
from levibot.ml.preparation import Plan, Prepared, only, prepare
from levibot.ml.provenance import commit, data_digest, libraries
from levibot.ml.rows import Rows, describe, label_rows, stretches
from levibot.ml.scores import score
from levibot.ml.splits import check
from levibot.ml.tuning import Search, tune
from levibot.symbols import on_disk

CARD, IMPORTANCE, PICTURE = "card.md", "importance.json", "shap.png"
_DAY_MS = 86_400_000


class Trained(NamedTuple):
    """A model that is not stored yet."""

    manifest: Manifest
    contents: dict[str, bytes]  # of its files
    test: Rows  # what it was judged on, all with a label; nothing was fitted or chosen on them


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
    spans, now_ms = data.spans, wall_ms()
    judged = spans.test.labelled()
    probabilities = predict(models, judged, data.symbols)
    newest_ms = max(int(history.bars.open_ms[-1]) for history in data.histories if len(history.judged))
    contents = {_file_name(fitted): fitted.text for fitted in models}
    manifest = Manifest(
        name=plan.name,
        version="",  # this, and the files' digests, are the store's
        exchange=plan.exchange,
        features=data.features,
        feature_versions=tuple(FEATURE_VERSIONS[name] for name in data.features),
        ranges=ranges(seen.train.labelled().features),
        symbols=data.symbols,
        context=material.leads if _knows_context(data.features) else "",
        label=data.label,
        data_sha256=digest,
        train=describe(spans.train),
        tuning=describe(spans.tuning),
        calibration=describe(spans.calibration),
        test=describe(spans.test),
        scores=score(
            judged.labels,
            probabilities,
            float(np.nanmean(spans.train.labels)),
            stretches(judged, data.label.horizon_bars),
        ),
        leaks=leaks,
        seed=plan.seed,
        params={**params, **summary},
        libraries=libraries(),
        levibot=__version__,
        commit=commit(),
        created_ms=now_ms,
        created_utc=utc(now_ms),
        expires_ms=newest_ms + plan.life_days * _DAY_MS if plan.life_days else 0,
        files=tuple(_described(fitted, contents) for fitted in models),
    )
    found = measure(models, seen.test.labelled(), data.symbols, data.features)
    beside = {CARD: write_card(manifest, found, judged.labels, probabilities), IMPORTANCE: found.document()}
    shown = picture(found) if plan.picture else None
    if shown is not None:
        beside[PICTURE] = shown
    files = (*manifest.files, *(_beside(name, content) for name, content in beside.items()))
    return Trained(msgspec.structs.replace(manifest, files=files), {**contents, **beside}, judged)


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


def _beside(name: str, content: bytes) -> ModelFile:
    return ModelFile(name=name, sha256="0" * 64, size_bytes=len(content))
