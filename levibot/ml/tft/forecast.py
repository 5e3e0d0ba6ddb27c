"""What lies beside the network: how its inputs were scaled, and how its forecast becomes a probability."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from levibot.errors import ModelError
from levibot.ml.manifest import AGAIN

STEPS = 60  # bars of a sequence, the judged one last
HORIZON = 5  # bars ahead that the network forecasts
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
FORECAST = "forecast.json"
_LOW, _MIDDLE, _HIGH = QUANTILES.index(0.1), QUANTILES.index(0.5), QUANTILES.index(0.9)
_FARTHEST = 8.0  # standard deviations: what lies farther out moves the network no further
_NARROWEST = 1e-3  # spread of a forecast, in standard deviations: below it lies a broken network
_CERTAINTY = 20.0  # most log-odds
_COUNT = 3  # numbers of a forecast that tell of the event
_SCHEMA = 1

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and standard deviation of each feature in the training span, and in no other.

    Parameters
    ----------
    center, scale
        One of each feature, in the manifest's order.
    """

    center: tuple[float, ...]
    scale: tuple[Annotated[float, Meta(gt=0)], ...]

    def __post_init__(self) -> None:
        if len(self.center) != len(self.scale) or not all(map(math.isfinite, (*self.center, *self.scale))):
            raise ValueError("expected one finite center and one finite scale of each feature")

    @classmethod
    def of(cls, rows: Floats) -> Scaling:
        """Scaling of rows, of shape (rows, features); a feature that never moves becomes 0."""
        center, scale = rows.mean(axis=0), rows.std(axis=0)
        moves = scale > 1e-12 * np.maximum(1.0, np.abs(center))
        return cls(center=tuple(center.tolist()), scale=tuple(np.where(moves, scale, 1.0).tolist()))

    def apply(self, rows: Floats) -> Singles:
        """Scaled and bounded; the last axis is that of the features."""
        scaled = (rows - np.array(self.center)) / np.array(self.scale)
        bounded: Singles = np.clip(scaled, -_FARTHEST, _FARTHEST).astype(np.float32)
        return bounded


class EventLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logistic regression from a forecast to the labelled event; fitted on the calibration span.

    Parameters
    ----------
    weights, intercept
        On what `tell` gives.
    """

    weights: Annotated[tuple[float, ...], Meta(min_length=_COUNT, max_length=_COUNT)]
    intercept: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.weights, self.intercept))):
            raise ValueError("expected finite weights and a finite intercept")

    def probability(self, numbers: Floats) -> Floats:
        """Probability of the event by what `tell` gives; shape (n,)."""
        odds = np.clip(numbers @ np.array(self.weights) + self.intercept, -_CERTAINTY, _CERTAINTY)
        probabilities: Floats = 1 / (1 + np.exp(-odds))
        return probabilities


class Forecast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file ``forecast.json`` of a version.

    Parameters
    ----------
    scaling
        Of the inputs.
    link
        Of the output.
    """

    schema: Annotated[int, Meta(ge=_SCHEMA, le=_SCHEMA)] = _SCHEMA
    scaling: Scaling
    link: EventLink

    def encode(self) -> bytes:
        """Content of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def read_forecast(path: Path, content: bytes, features: int) -> Forecast:
    """Read the file of a version.

    Parameters
    ----------
    path
        Named in an error.
    content
        Of the file.
    features
        How many the model is given.

    Raises
    ------
    ModelError
        If it is none, or of another number of features.
    """
    try:
        forecast = msgspec.json.decode(content, type=Forecast)
    except msgspec.DecodeError as error:
        raise ModelError(path, f"does not say how to scale and calibrate: {error}; {AGAIN}") from error
    if len(forecast.scaling.center) != features:
        found = len(forecast.scaling.center)
        raise ModelError(path, f"scales {found} features, expected {features}; {AGAIN}")
    return forecast


def tell(quantiles: NDArray[Any], volatility: Floats, distance: Floats) -> Floats:
    """What a forecast says of the event, in three numbers.

    Parameters
    ----------
    quantiles
        Shape (n, `HORIZON`, number of `QUANTILES`): of the log return from the judged bar's close to that of each
        bar ahead, in units of σ·√(bars).
    volatility
        σ of the judged bar, of one minute; shape (n,).
    distance
        Mean distance of the two barriers from the price, as a fraction; shape (n,).

    Returns
    -------
    ndarray
        Shape (n, 3), of the forecast's last step: the median by the distance between the 10 % and the 90 %
        quantile; how lopsided these lie about the median, -1 to 1; and the median by the distance of the
        barriers.
    """
    last = quantiles[:, -1].astype(np.float64)
    middle = last[:, _MIDDLE]
    spread = np.maximum(last[:, _HIGH] - last[:, _LOW], _NARROWEST)
    lopsided = np.clip((last[:, _HIGH] + last[:, _LOW] - 2 * middle) / spread, -1, 1)
    reach = volatility * math.sqrt(HORIZON) / distance
    return np.column_stack([middle / spread, lopsided, middle * reach])
