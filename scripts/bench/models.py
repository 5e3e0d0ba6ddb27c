"""A model of 200 trees in a store, as a benchmark needs it: its answers are worth nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from levibot.bus.messages import ModelKind
from levibot.ml.features import FEATURE_VERSIONS, FEATURES, OPTIONAL_FEATURES
from levibot.ml.manifest import MODEL, Manifest, ModelFile
from levibot.ml.model import import_lightgbm
from levibot.ml.store import ModelStore
from tests.ml.examples import manifest

NAME, NETWORK_NAME = "lightgbm-simulated", "tft-simulated"
TREES = 200
# Those that are always there: a market without order flow lacks the others, and a model that never missed one in
# training counts them as out of range.
GIVEN = tuple(name for name in FEATURES if name not in OPTIONAL_FEATURES)
_ROWS = 5_000


@cache
def model_text() -> bytes:
    """Text of a LightGBM model with 31 leaves a tree, trained on noise."""
    lightgbm = import_lightgbm()
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(_ROWS, len(GIVEN)))
    labels = (rows.sum(axis=1) + draw.normal(scale=5, size=_ROWS) > 0).astype(float)
    data = lightgbm.Dataset(rows, labels, feature_name=list(GIVEN))
    parameters = {"objective": "binary", "num_threads": 1, "num_leaves": 31, "verbose": -1}
    text: str = lightgbm.train(parameters, data, TREES).model_to_string()
    return text.encode()


def promote_model(folder: Path) -> str:
    """Store one more version of LightGBM and let it serve; its version."""
    file = ModelFile(name=MODEL, sha256="0" * 64, size_bytes=1, trees=TREES)
    return _promote(folder, _manifest(NAME, (file,)), {MODEL: model_text()})


def promote_network(folder: Path) -> str:
    """Store a Temporal Fusion Transformer that was never trained, which costs as much time, and let it serve.

    Raises
    ------
    ImportError
        If the extra `tft` or PyTorch is not installed.
    """
    from levibot.ml.tft.forecast import FORECAST, EventLink, Forecast, Scaling
    from levibot.ml.tft.model import NETWORK
    from levibot.ml.tft.network import build, export

    count = len(GIVEN)
    told = Forecast(
        scaling=Scaling(center=(0.0,) * count, scale=(1.0,) * count),
        link=EventLink(weights=(0.0,) * 3, intercept=0.0),
    )
    network = build(GIVEN, hidden=16, heads=2, dropout=0.1, rate=1e-3)
    contents = {NETWORK: export(network, count), FORECAST: told.encode()}
    files = tuple(ModelFile(name=name, sha256="0" * 64, size_bytes=1) for name in contents)
    return _promote(folder, _manifest(NETWORK_NAME, files, "tft"), contents)


def _promote(folder: Path, made: Manifest, contents: dict[str, bytes]) -> str:
    store = ModelStore(folder)
    stored = store.save(made, contents)
    store.promote(made.name, stored.version)
    return stored.version


def _manifest(name: str, files: tuple[ModelFile, ...], kind: ModelKind = "lightgbm") -> Manifest:
    return manifest(
        name=name,
        kind=kind,
        features=GIVEN,
        feature_versions=tuple(FEATURE_VERSIONS[feature] for feature in GIVEN),
        ranges=tuple((-1e9, 1e9) for _ in GIVEN),
        symbols=("S000/USDT",),
        files=files,
    )
