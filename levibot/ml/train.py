"""Training: candles in, a judged LightGBM model out; the features are those that serve."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import levibot
from levibot import __version__
from levibot.clock import wall_ms
from levibot.errors import TrainingError
from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.ml.features import FEATURE_VERSIONS, FEATURES
from levibot.ml.history import Floats, History, read_history
from levibot.ml.labels import default_distance, volatility
from levibot.ml.manifest import MODEL, Label, Manifest, ModelFile, utc
from levibot.ml.model import import_lightgbm
from levibot.ml.scores import score
from levibot.ml.splits import Rows, Split, boundaries, describe, label_rows, split, stretches

_DAY_MS = 86_400_000
_MOST_TREES = 400
_PATIENCE = 30  # trees without a better score on the tuning span
_RANGE_QUANTILES = (0.001, 0.999)
_RANGE_MARGIN = 0.1  # of the distance between these quantiles, on each side


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
    take_profit, stop_loss
        Distances of the barriers as fractions; None: from the volatility of the training span.
    costs
        Of a round trip, as a fraction; no default barrier is nearer than three times that.
    seed
        The same seed, data and versions give the same model.
    threads
        More than one is faster.
    life_days
        Days after the newest bar until the model is too old to open a position; 0: never.
    """

    name: str
    exchange: str
    horizon_bars: int
    costs: float
    take_profit: float | None = None
    stop_loss: float | None = None
    seed: int = 1
    threads: int = 1
    life_days: int = 0


class Trained(NamedTuple):
    """A model that is not stored yet."""

    manifest: Manifest
    contents: dict[str, bytes]  # of its files


def train(
    candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, plan: Plan, progress: Progress
) -> Trained:
    """Train and judge a model on all symbols together.

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
    histories = _read(candles, bars, progress)
    progress("labelling", 0, None)
    begins = boundaries(histories)
    label = choose_label(plan, histories, begins.tuning_ms)
    spans = split(label_rows(histories, label), begins, label)
    booster, params = fit(spans, plan, progress)
    text = booster.model_to_string(num_iteration=booster.best_iteration).encode()
    probabilities = booster.predict(spans.test.features, num_iteration=booster.best_iteration, num_threads=1)
    now_ms = wall_ms()
    newest_ms = max(int(history.bars.open_ms[-1]) for history in histories if len(history.judged))
    manifest = Manifest(
        name=plan.name,
        version="",  # this, and the files' digests, are the store's
        exchange=plan.exchange,
        features=FEATURES,
        feature_versions=tuple(FEATURE_VERSIONS[name] for name in FEATURES),
        ranges=_ranges(spans.train.features),
        symbols=tuple(candles),
        label=label,
        train=describe(spans.train),
        data_sha256=_digest(spans),
        tuning=describe(spans.tuning),
        test=describe(spans.test),
        scores=score(
            spans.test.labels,
            probabilities,
            float(spans.train.labels.mean()),
            stretches(spans.test, label.horizon_bars),
        ),
        seed=plan.seed,
        params=params,
        libraries=_libraries(),
        levibot=__version__,
        commit=_commit(),
        created_ms=now_ms,
        created_utc=utc(now_ms),
        expires_ms=newest_ms + plan.life_days * _DAY_MS if plan.life_days else 0,
        files=(ModelFile(name=MODEL, sha256="0" * 64, size_bytes=len(text), trees=booster.best_iteration),),
    )
    return Trained(manifest, {MODEL: text})


def _read(candles: Mapping[str, Iterable[Candle | Hole]], bars: int | None, progress: Progress) -> list[History]:
    histories = []
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress("computing features", done, bars)

    report(0)
    for items in candles.values():
        histories.append(read_history(items, report))
    return histories


def choose_label(plan: Plan, histories: list[History], until_ms: int) -> Label:
    """The label of a plan; distances that it leaves open come from the volatility before `until_ms`."""
    sigma = volatility([history.bars for history in histories], until_ms)
    default = default_distance(sigma, plan.horizon_bars, plan.costs)
    return Label(
        take_profit=plan.take_profit or default,
        stop_loss=plan.stop_loss or default,
        horizon_bars=plan.horizon_bars,
    )


def fit(spans: Split, plan: Plan, progress: Progress) -> tuple[Any, dict[str, str | int | float | bool]]:
    """Grow trees on the training span until the tuning span shows no gain; the booster, and its settings."""
    lightgbm = import_lightgbm()
    params: dict[str, str | int | float | bool] = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": min(200, max(20, len(spans.train.labels) // 100)),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "seed": plan.seed,
        "deterministic": True,
        "force_row_wise": True,  # else both ways are timed, and the faster one is taken
        "num_threads": plan.threads,
        "verbosity": -1,
    }

    def report(environment: Any) -> None:
        progress("growing trees", environment.iteration + 1, _MOST_TREES)

    def dataset(rows: Rows, reference: Any = None) -> Any:
        return lightgbm.Dataset(rows.features, rows.labels, reference=reference, feature_name=list(FEATURES))

    fitted_on = dataset(spans.train)
    booster = lightgbm.train(
        params,
        fitted_on,
        _MOST_TREES,
        valid_sets=[dataset(spans.tuning, fitted_on)],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False), report],
    )
    if not booster.num_trees():
        raise TrainingError("no tree could be grown; give more candles")
    return booster, params


def _ranges(features: Floats) -> tuple[tuple[float, float], ...]:
    low, high = np.quantile(features, _RANGE_QUANTILES, axis=0)
    margin = _RANGE_MARGIN * (high - low)
    return tuple(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _digest(spans: Split) -> str:
    digest = hashlib.sha256()
    for rows in spans:
        for column in rows:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _libraries() -> dict[str, str]:
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "lightgbm": import_lightgbm().__version__,
        "numpy": np.__version__,
    }


def _commit() -> str | None:
    """Commit of the code that runs, with ``-dirty`` if it was changed since; None outside a checkout."""
    root = Path(levibot.__path__[0]).parent
    if not (root / ".git").exists():  # a repository further up is somebody else's
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
