"""A model of 200 trees in a store, as a benchmark needs it: its answers are worth nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from levibot.clock import wall_ms
from levibot.ml.features import FEATURE_VERSIONS, FEATURES
from levibot.ml.manifest import MODEL, Label, Manifest, ModelFile, Part, Scores, utc
from levibot.ml.model import import_lightgbm
from levibot.ml.store import ModelStore

NAME = "lightgbm-simulated"
TREES = 200
_ROWS = 5_000


@cache
def model_text() -> bytes:
    """Text of a LightGBM model with 31 leaves a tree, trained on noise."""
    lightgbm = import_lightgbm()
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(_ROWS, len(FEATURES)))
    labels = (rows.sum(axis=1) + draw.normal(scale=5, size=_ROWS) > 0).astype(float)
    data = lightgbm.Dataset(rows, labels, feature_name=list(FEATURES))
    parameters = {"objective": "binary", "num_threads": 1, "num_leaves": 31, "verbose": -1}
    text: str = lightgbm.train(parameters, data, TREES).model_to_string()
    return text.encode()


def promote_model(folder: Path) -> str:
    """Store one more version and let it serve; its version."""
    now = wall_ms()
    part = Part(
        from_ms=now - 1,
        until_ms=now,
        from_utc=utc(now),
        until_utc=utc(now),
        rows=_ROWS,
        positives=0.5,
        judged=_ROWS,
        concurrency=1.0,
        uniqueness=1.0,
    )
    store = ModelStore(folder)
    stored = store.save(
        Manifest(
            name=NAME,
            version="",
            exchange="simulated",
            features=FEATURES,
            feature_versions=tuple(FEATURE_VERSIONS[name] for name in FEATURES),
            ranges=tuple((-1e9, 1e9) for _ in FEATURES),
            symbols=("S000/USDT",),
            label=Label(take_profit=0.008, stop_loss=0.008, horizon_bars=30),
            train=part,
            data_sha256="0" * 64,
            tuning=part,
            test=part,
            scores=Scores(auc=0.5, log_loss=0.7, brier=0.25, base_log_loss=0.7, base_brier=0.25),
            seed=1,
            params={},
            libraries={},
            levibot="benchmark",
            commit=None,
            created_ms=now,
            created_utc=utc(now),
            expires_ms=0,
            files=(ModelFile(name=MODEL, sha256="0" * 64, size_bytes=1, trees=TREES),),
        ),
        {MODEL: model_text()},
    )
    store.promote(NAME, stored.version)
    return stored.version
