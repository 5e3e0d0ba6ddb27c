"""Bars, and a small real model with its manifest, for the tests of this package and its users."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.ml.features import FEATURE_VERSIONS, FEATURES
from levibot.ml.history import History, Source, history_of, read_bars
from levibot.ml.manifest import MODEL, Label, Manifest, ModelFile, Part, utc
from levibot.ml.model import import_lightgbm
from levibot.ml.scored import Scores
from levibot.ml.store import ModelStore

START_MS = 1_735_689_600_000
SEED = 3


def walk(count: int, *, seed: int = SEED, price: float = 100.0, start_ms: int = START_MS) -> Iterator[Candle]:
    """Bars of a random walk."""
    draw = random.Random(seed)
    for index in range(count):
        close = price * math.exp(draw.gauss(0, 0.001))
        high = max(price, close) * (1 + 0.001 * draw.random())
        low = min(price, close) * (1 - 0.001 * draw.random())
        yield Candle(start_ms + index * MINUTE_MS, price, high, low, close, draw.uniform(1, 9))
        price = close


def read_history(items: Iterable[Candle | Hole], report: Callable[[int], None] = lambda _more: None) -> History:
    """Bars of one symbol, and the features that it has by itself."""
    return history_of(Source(read_bars(items, report)))


@cache
def model_text(*, objective: str = "binary", features: tuple[str, ...] = FEATURES, rounds: int = 5) -> bytes:
    """Text of a model that answers by the sign of the first feature."""
    lightgbm = import_lightgbm()
    rows = np.random.default_rng(SEED).normal(size=(400, len(features)))
    labels = (rows[:, 0] > 0).astype(float)
    data = lightgbm.Dataset(rows, labels, feature_name=list(features))
    params = {"objective": objective, "num_threads": 1, "verbose": -1, "num_leaves": 6, "seed": SEED}
    text: str = lightgbm.train(params, data, rounds).model_to_string()
    return text.encode()


def manifest(**changes: object) -> Manifest:
    """Manifest of that model; the store fills in version, digest and size."""
    part = Part(
        from_ms=START_MS,
        until_ms=START_MS + MINUTE_MS,
        from_utc=utc(START_MS),
        until_utc=utc(START_MS + MINUTE_MS),
        rows=100,
        positives=0.5,
        judged=120,
        concurrency=30.0,
        uniqueness=0.05,
    )
    made = Manifest(
        name="lightgbm-simulated",
        version="",
        exchange="simulated",
        features=FEATURES,
        feature_versions=tuple(FEATURE_VERSIONS[name] for name in FEATURES),
        ranges=tuple((-3.0, 3.0) for _ in FEATURES),
        symbols=("BTC/USDT",),
        label=Label(take_profit=0.008, stop_loss=0.008, horizon_bars=30),
        train=part,
        data_sha256="0" * 64,
        tuning=part,
        test=part,
        scores=Scores(auc=0.7, log_loss=0.6, brier=0.2, base_log_loss=0.69, base_brier=0.25),
        leaks=(),
        seed=SEED,
        params={"num_leaves": 6},
        libraries={"lightgbm": "4"},
        levibot="0.1.0",
        commit=None,
        created_ms=START_MS,
        created_utc=utc(START_MS),
        expires_ms=0,
        files=(ModelFile(name=MODEL, sha256="0" * 64, size_bytes=1, trees=5),),
    )
    return msgspec.structs.replace(made, **changes)


def stored_model(folder: Path, **changes: object) -> Path:
    """Save the small model below `folder`, promote it; the folder of its version."""
    store = ModelStore(folder)
    stored = store.save(manifest(**changes), {MODEL: model_text()})
    store.promote(stored.name, stored.version)
    return folder / stored.name / stored.version
