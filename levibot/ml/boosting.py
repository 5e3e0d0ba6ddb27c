"""LightGBM: rows with labels in, calibrated trees out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levibot.errors import TrainingError
from levibot.ml import calibration
from levibot.ml.history import Floats
from levibot.ml.manifest import Calibration
from levibot.ml.model import import_lightgbm
from levibot.ml.rows import Rows
from levibot.ml.splits import Split

MOST_TREES = 400
_PATIENCE = 30  # trees without a better score on the rows that stop it
_RANGE_QUANTILES = (0.001, 0.999)
_RANGE_MARGIN = 0.1  # of the distance between these quantiles, on each side

Params = Mapping[str, str | int | float | bool]


class Fitted(NamedTuple):
    """Trees, and what makes their answers come true as often as they say."""

    symbol: str  # the only one that they answer for; empty: all
    booster: Any
    calibration: Calibration

    @property
    def text(self) -> bytes:
        """What is stored of the trees."""
        text: str = self.booster.model_to_string(num_iteration=self.booster.best_iteration)
        return text.encode()

    def raw(self, features: Floats) -> Floats:
        """Probabilities as the trees give them; shape (rows,)."""
        found: Floats = self.booster.predict(features, num_iteration=self.booster.best_iteration, num_threads=1)
        return found

    def contributions(self, features: Floats) -> Floats:
        """SHAP values: by how much each feature moves the log-odds of each row; shape (rows, features)."""
        found: Floats = self.booster.predict(
            features, num_iteration=self.booster.best_iteration, num_threads=1, pred_contrib=True
        )
        return found[:, :-1]

    def answers_for(self, rows: Rows, symbols: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows are of its symbol; `symbols` by the numbers in the rows."""
        return rows.symbols == symbols.index(self.symbol) if self.symbol else np.ones(len(rows.labels), np.bool_)

    def probabilities(self, features: Floats) -> Floats:
        """Probabilities as they are served; shape (rows,)."""
        return calibration.apply(self.calibration, self.raw(features))


def default_params(rows: int) -> dict[str, str | int | float | bool]:
    """Settings for so many rows to fit on, where none were tuned."""
    return {
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": min(200, max(20, rows // 100)),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
    }


def fixed_params(seed: int, threads: int) -> dict[str, str | int | float | bool]:
    """Settings that are never tuned: the same seed, rows, versions and threads give the same bytes."""
    return {
        "objective": "binary",
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,  # else both ways are timed, and the faster one is taken
        "num_threads": threads,
        "verbosity": -1,
    }


def fit(
    spans: Split, params: Params, names: tuple[str, ...], grown: Callable[[int], None], symbol: str = ""
) -> Fitted:
    """Grow trees on the training span until the tuning span shows no gain, and calibrate them.

    Parameters
    ----------
    spans
        Rows that have no label are left out.
    params
        Of LightGBM.
    names
        Of the features.
    grown
        Told the number of each tree.
    symbol
        The only one of these rows; empty: there may be more.

    Raises
    ------
    TrainingError
        If nothing can be learned.
    """
    booster = grow(spans.train.labelled(), spans.tuning.labelled(), params, names, grown)
    fitted = Fitted(symbol, booster, Calibration())
    known = spans.calibration.labelled()
    return fitted._replace(calibration=calibration.fit(fitted.raw(known.features), known))


def grow(
    fitted_on: Rows, stopped_on: Rows, params: Params, names: tuple[str, ...], grown: Callable[[int], None]
) -> Any:
    """LightGBM's booster, whose best iteration is where `stopped_on` is predicted best; all rows have labels.

    Raises
    ------
    TrainingError
        If not one tree can be grown.
    """
    lightgbm = import_lightgbm()

    def dataset(rows: Rows, reference: Any = None) -> Any:
        return lightgbm.Dataset(rows.features, rows.labels, reference=reference, feature_name=list(names))

    learned_from = dataset(fitted_on)
    booster = lightgbm.train(
        dict(params),
        learned_from,
        MOST_TREES,
        valid_sets=[dataset(stopped_on, learned_from)],
        callbacks=[
            lightgbm.early_stopping(_PATIENCE, verbose=False),
            lambda environment: grown(environment.iteration + 1),
        ],
    )
    if not booster.num_trees():
        raise TrainingError("no tree could be grown; give more candles")
    return booster


def ranges(features: Floats) -> tuple[tuple[float, float], ...]:
    """Where nearly all values of each feature lie, and somewhat beyond; missing values do not count."""
    low, high = np.nanquantile(features, _RANGE_QUANTILES, axis=0)
    margin = _RANGE_MARGIN * (high - low)
    return tuple(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))
