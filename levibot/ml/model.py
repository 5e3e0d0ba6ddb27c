"""A stored model, loaded and checked: features in, probabilities out."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levibot.errors import ModelError
from levibot.ml.calibration import calibrator
from levibot.ml.features import FEATURE_VERSIONS, OPTIONAL_FEATURES
from levibot.ml.manifest import AGAIN, MANIFEST, VOLATILITY, Manifest, ModelFile, read_manifest, read_model
from levibot.ml.model_text import check_model_text, needed
from levibot.ml.stored import StoredModel
from levibot.ml.trees import Trees, TreesError

Rows = NDArray[np.float64]

ALL = ""  # in the place of a symbol: trees for every one


class Model(StoredModel):
    """LightGBM's trees, ready to answer: one set for all symbols, or one for each.

    Parameters
    ----------
    manifest
        Of the version.
    trees
        By symbol, as of the manifest's files.
    demanded
        By symbol: features of which its trees take a missing one for 0.
    """

    steps = 1  # bars that a question is of

    def __init__(
        self, manifest: Manifest, trees: Mapping[str, Trees], demanded: Mapping[str, Collection[str]]
    ) -> None:
        super().__init__(manifest)
        self._parts = {
            file.symbol: (trees[file.symbol], calibrator(file.calibration))
            for file in manifest.files
            if file.trees
        }
        names = manifest.features
        self._volatility = names.index(VOLATILITY) if VOLATILITY in names else 0  # a label in sigmas demands it
        self._may_miss = np.array([name in OPTIONAL_FEATURES for name in names], dtype=np.bool_)
        self._demanded = {
            symbol: np.array([name in these for name in names], dtype=np.bool_)
            for symbol, these in demanded.items()
        }

    def answers_for(self, symbol: str) -> bool:
        """Whether there are trees for a symbol."""
        return ALL in self._parts or symbol in self._parts

    def warm(self, batch: int) -> None:
        """Answer `batch` questions about nothing, so that the first real one is not the slowest."""
        rows = np.zeros((batch, self.width))
        for symbol in self._parts:
            self.predict(rows, [symbol] * batch)
            self.out_of_range(rows, [symbol] * batch)

    def predict(self, rows: Rows, symbols: Sequence[str] = ()) -> Rows:
        """Probability of the label for each row.

        Parameters
        ----------
        rows
            Shape (n, number of its features): numbers, NaN where an optional one is missing.
        symbols
            Of each row; not needed where the model is one for all.

        Returns
        -------
        ndarray
            Shape (n,), 0..1.

        Raises
        ------
        ValueError
            If the shape is another, a feature has no value that it may have, or a symbol no trees.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"rows have shape {rows.shape}, expected (n, {self.width})")
        if not self.is_sound(rows).all():
            raise ValueError("a feature is infinite, or NaN and not optional; expected finite numbers")
        if ALL in self._parts:
            trees, calibrate = self._parts[ALL]
            return calibrate(trees.predict(rows))
        found = np.empty(len(rows))
        places: dict[str, list[int]] = {}
        for place, symbol in enumerate(symbols):
            places.setdefault(symbol, []).append(place)
        if len(symbols) != len(rows) or not places.keys() <= self._parts.keys():
            raise ValueError(f"expected the symbol of each row, out of {', '.join(self._parts)}")
        for symbol, those in places.items():
            trees, calibrate = self._parts[symbol]
            found[those] = calibrate(trees.predict(rows[those]))
        return found

    def barriers(self, rows: Rows) -> list[tuple[float, float]]:
        """Distances of the upper and the lower barrier at each row, as fractions of the price."""
        label = self.manifest.label
        if label.unit == "fraction":
            return [(label.take_profit, label.stop_loss)] * len(rows)
        return [label.distances(volatility) for volatility in rows[:, self._volatility].tolist()]

    def is_sound(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each number is one that its feature may have; the shape of `rows`."""
        sound: NDArray[np.bool_] = np.isfinite(rows) | (np.isnan(rows) & self._may_miss)
        return sound

    def out_of_range(self, rows: Rows, symbols: Sequence[str] = ()) -> NDArray[np.intp]:
        """How many features of each row lie outside what the model has learned from; shape (n,).

        One that is missing does if it never was in training, where the trees look at it: they would take it for 0,
        a neutral number that nobody measured. Arguments and errors are those of `predict`.
        """
        outside = self.outside(rows)
        missing = np.isnan(rows)
        if missing.any():
            outside |= missing & self._demanded_of(symbols)
        counts: NDArray[np.intp] = outside.sum(axis=1)
        return counts

    def _demanded_of(self, symbols: Sequence[str]) -> NDArray[np.bool_]:
        if ALL in self._parts:
            return self._demanded[ALL]
        return np.array([self._demanded[symbol] for symbol in symbols])


class _Silent:
    """LightGBM's messages would go to standard output; its errors are exceptions as well."""

    def info(self, message: str) -> None:
        """Say nothing."""

    def warning(self, message: str) -> None:
        """Say nothing."""


def import_lightgbm() -> Any:
    """LightGBM on one thread, silent. Its thread pool hangs for ever in a process forked after its first use."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import lightgbm

    lightgbm.register_logger(_Silent())
    return lightgbm


def load_model(folder: Path, exchange: str) -> Model:
    """Load one version of a model.

    Parameters
    ----------
    folder
        Of the version, as `ModelStore.current` gives it.
    exchange
        Whose markets it is to serve.

    Raises
    ------
    ModelError
        If it is missing, damaged, or made for other features or another exchange.
    """
    manifest = read_manifest(folder)
    check_use(folder, manifest, exchange, "lightgbm")
    loaded = {file.symbol: _load_trees(folder, file, manifest.features) for file in manifest.files if file.trees}
    if not loaded:
        raise ModelError(folder / MANIFEST, f"names no file with trees; {AGAIN}")
    trees = {symbol: trees for symbol, (trees, _) in loaded.items()}
    return Model(manifest, trees, {symbol: demanded for symbol, (_, demanded) in loaded.items()})


def _load_trees(folder: Path, file: ModelFile, features: tuple[str, ...]) -> tuple[Trees, frozenset[str]]:
    """Trees, and the features of which they take a missing one for 0."""
    path = folder / file.name
    content = read_model(folder, file)
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise ModelError(path, f"is no text (byte {error.start}); {AGAIN}") from error
    checked = check_model_text(path, text, features)
    if checked.trees != file.trees:
        raise ModelError(path, f"has {checked.trees} trees, expected {file.trees}; {AGAIN}")
    try:
        return Trees(needed(text)), checked.demanded
    except TreesError as error:
        raise ModelError(path, f"is refused by LightGBM {version('lightgbm')}: {error}; {AGAIN}") from error


def check_use(folder: Path, manifest: Manifest, exchange: str, kind: str) -> None:
    """Demand that a model is of this place, kind and market, and made for features as this LeviBot computes them.

    Raises
    ------
    ModelError
        If it is not.
    """
    path = folder / MANIFEST
    if manifest.kind != kind:
        raise ModelError(path, f"describes a model of the kind {manifest.kind}, expected {kind}; {AGAIN}")
    if folder.name != manifest.version or folder.parent.name != manifest.name:
        expected = f"{folder.parent.name}/{folder.name}"
        raise ModelError(path, f"describes {manifest.reference}, expected {expected}; {AGAIN}")
    if manifest.exchange != exchange:
        raise ModelError(
            path,
            f"was trained on the markets of {manifest.exchange!r}, expected {exchange!r}; "
            f"correct inference.model, or {AGAIN}",
        )
    known = tuple(FEATURE_VERSIONS.get(name) for name in manifest.features)
    if known != manifest.feature_versions:
        name = next(
            n for n, k, v in zip(manifest.features, known, manifest.feature_versions, strict=True) if k != v
        )
        raise ModelError(path, f"needs another version of the feature {name} than this LeviBot computes; {AGAIN}")
