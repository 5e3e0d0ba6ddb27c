"""A stored Temporal Fusion Transformer, loaded and checked: sequences in, probabilities of the event out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levibot.errors import ModelError
from levibot.ml.manifest import AGAIN, MANIFEST, VOLATILITY, Label, Manifest, ModelFile, read_manifest, read_model
from levibot.ml.model import check_use
from levibot.ml.stored import StoredModel
from levibot.ml.tft.extra import absence
from levibot.ml.tft.forecast import (
    FORECAST,
    HORIZON,
    QUANTILES,
    STEPS,
    EventLink,
    Scaling,
    read_forecast,
    tell,
)

NETWORK = "network.onnx"
_BATCH = 16  # sequences that are computed in one go: of more, what is between two steps leaves the cache
_FATAL = 4  # of onnxruntime's severities: it would write to standard error
INPUT, OUTPUT = "rows", "quantiles"

Floats = NDArray[np.float64]


class Network:
    """The network itself, with the scaling of what it is given.

    Parameters
    ----------
    session
        onnxruntime's own object.
    scaling
        Of the inputs.
    volatility
        Which of the features is the volatility.
    """

    def __init__(self, session: Any, scaling: Scaling, volatility: int) -> None:
        self._session = session
        self._scaling = scaling
        self._volatility = volatility

    def quantiles(self, rows: Floats) -> NDArray[np.float32]:
        """The forecast.

        Parameters
        ----------
        rows
            Shape (n, `STEPS`, number of features), the judged bar last, finite.

        Returns
        -------
        ndarray
            Shape (n, `HORIZON`, number of `QUANTILES`): of the log return from the judged bar's close, in units
            of its volatility times the root of the bars ahead.
        """
        scaled = self._scaling.apply(rows)
        parts = [
            self._session.run([OUTPUT], {INPUT: scaled[begin : begin + _BATCH]})[0]
            for begin in range(0, len(scaled), _BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, HORIZON, len(QUANTILES)), dtype=np.float32)

    def barriers(self, rows: Floats, label: Label) -> list[tuple[float, float]]:
        """Distances of the label's upper and lower barrier at each judged bar, as fractions of the price."""
        return [label.distances(volatility) for volatility in rows[:, -1, self._volatility].tolist()]

    def numbers(self, rows: Floats, label: Label) -> Floats:
        """What the forecast says of the event, as `forecast.tell` gives it; rows as of `quantiles`."""
        distances = np.array(self.barriers(rows, label)).reshape(-1, 2).mean(axis=1)
        return tell(self.quantiles(rows), rows[:, -1, self._volatility], distances)


class TftModel(StoredModel):
    """A network that is ready to answer, with the face of `levibot.ml.model.Model`.

    Parameters
    ----------
    manifest
        Of the version.
    network
        Its forecast.
    link
        From that to a probability.
    """

    steps = STEPS  # bars that a question is of

    def __init__(self, manifest: Manifest, network: Network, link: EventLink) -> None:
        super().__init__(manifest)
        self._network = network
        self._link = link

    def warm(self, batch: int) -> None:
        """Answer `batch` questions about nothing, so that the first real one is not the slowest."""
        rows = np.zeros((batch, STEPS, self.width))
        self.predict(rows)
        self.out_of_range(rows)

    def answers_for(self, symbol: str) -> bool:
        """Whether it may be asked about a symbol: about any, for the network is one for all."""
        return True

    def predict(self, rows: Floats, symbols: Sequence[str] = ()) -> Floats:
        """Probability of the label for each sequence.

        Parameters
        ----------
        rows
            Shape (n, `STEPS`, number of features), the judged bar last, finite.
        symbols
            Whose they are; the network is one for all.

        Returns
        -------
        ndarray
            Shape (n,), 0..1.

        Raises
        ------
        ValueError
            If the shape is another, or a number is not finite.
        """
        if rows.ndim != 3 or rows.shape[1:] != (STEPS, self.width):
            raise ValueError(f"rows have shape {rows.shape}, expected (n, {STEPS}, {self.width})")
        if not self.is_sound(rows).all():
            raise ValueError("a feature is NaN or infinite, expected finite numbers")
        return self._link.probability(self._network.numbers(rows, self.manifest.label))

    def is_sound(self, rows: Floats) -> NDArray[np.bool_]:
        """Whether each number is finite, as a network demands; the shape of `rows`."""
        sound: NDArray[np.bool_] = np.isfinite(rows)
        return sound

    def barriers(self, rows: Floats) -> list[tuple[float, float]]:
        """Distances of the upper and the lower barrier at each judged bar, as fractions of the price."""
        return self._network.barriers(rows, self.manifest.label)

    def out_of_range(self, rows: Floats, symbols: Sequence[str] = ()) -> NDArray[np.intp]:
        """How many features of each judged bar lie outside what the model has learned from; shape (n,)."""
        counts: NDArray[np.intp] = self.outside(rows[:, -1]).sum(axis=1)
        return counts


def load_tft(folder: Path, exchange: str) -> TftModel:
    """Load one version of a network.

    Parameters
    ----------
    folder
        Of the version, as `ModelStore.current` gives it.
    exchange
        Whose markets it is to serve.

    Raises
    ------
    ModelError
        If it is missing, damaged, no network of this form, or made for other features or another exchange; or if
        the extra is not installed.
    """
    if absent := absence():
        raise ModelError(folder, absent)
    manifest = read_manifest(folder)
    check_use(folder, manifest, exchange, "tft")
    if VOLATILITY not in manifest.features:
        raise ModelError(folder / MANIFEST, f"does not name the feature {VOLATILITY}; {AGAIN}")
    told = read_model(folder, _file(folder, manifest, FORECAST))
    forecast = read_forecast(folder / FORECAST, told, len(manifest.features))
    path = folder / NETWORK
    content = read_model(folder, _file(folder, manifest, NETWORK))
    try:
        session = open_session(content)
        _check_form(path, session, len(manifest.features))
        network = Network(session, forecast.scaling, manifest.features.index(VOLATILITY))
        answer = network.quantiles(np.zeros((1, STEPS, len(manifest.features))))
    except ModelError:
        raise
    except Exception as error:  # whatever onnxruntime makes of a file that is none
        raise ModelError(path, f"is refused by onnxruntime: {error!s:.300}; {AGAIN}") from error
    if answer.shape != (1, HORIZON, len(QUANTILES)) or not np.isfinite(answer).all():
        raise ModelError(path, f"forecasts something of shape {answer.shape}, or no finite numbers; {AGAIN}")
    return TftModel(manifest, network, forecast.link)


def open_session(content: bytes) -> Any:
    """A network that computes on the thread that asks, by the operators that onnxruntime itself has."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _file(folder: Path, manifest: Manifest, name: str) -> ModelFile:
    for file in manifest.files:
        if file.name == name:
            return file
    raise ModelError(folder / MANIFEST, f"does not name {name}; {AGAIN}")


def _check_form(path: Path, session: Any, features: int) -> None:
    takes = [(node.name, node.type, list(node.shape)[1:]) for node in session.get_inputs()]
    gives = [(node.name, node.type) for node in session.get_outputs()]
    if takes != [(INPUT, "tensor(float)", [STEPS, features])] or gives != [(OUTPUT, "tensor(float)")]:
        raise ModelError(
            path,
            f"takes {takes} and gives {gives}, expected {INPUT} of (n, {STEPS}, {features}) floats and "
            f"{OUTPUT}; {AGAIN}",
        )
