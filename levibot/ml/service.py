"""Answers many engines' questions at once, with whatever model is in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from levibot.bus.messages import InferenceReply, Prediction, PredictionRefused, PredictRequest
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.ml.manifest import Manifest

Floats = NDArray[np.float64]

_BYTES = 8  # of one feature
_QUOTED = 60  # characters of what somebody else sent


class Served(Protocol):
    """A model that is ready to answer.

    Its rows have the shape (n, features) where a question is of one bar, else (n, steps, features).
    """

    @property
    def manifest(self) -> Manifest:
        """Of the version."""

    @property
    def steps(self) -> int:
        """Bars that a question is of."""

    @property
    def columns(self) -> NDArray[np.intp]:
        """Places of its features among all that an engine sends."""

    def answers_for(self, symbol: str) -> bool:
        """Whether it may be asked about a symbol."""

    def warm(self, batch: int) -> None:
        """Make the first answer as fast as the later ones."""

    def is_sound(self, rows: Floats) -> NDArray[np.bool_]:
        """Whether each number is one that its feature may have; the shape of `rows`."""

    def predict(self, rows: Floats, symbols: Sequence[str] = ()) -> Floats:
        """Probability of the labelled event for each row, whose symbols these are; none: any."""

    def barriers(self, rows: Floats) -> list[tuple[float, float]]:
        """Distances of the upper and the lower barrier at each row, as fractions of the price."""

    def out_of_range(self, rows: Floats, symbols: Sequence[str]) -> NDArray[np.intp]:
        """How many features of each row, whose symbols these are, lie outside what the model has learned from."""


class PredictionService:
    """Requests in, answers out; no socket and no clock.

    Whoever asked is told either a probability or why there is none. Only what nobody waits for any more
    gets no answer.
    """

    def __init__(self) -> None:
        self.model_name = ""  # name/version that is served
        self.no_model = "no model is loaded yet"  # told to whoever asks before there is one
        self.last_refusal = ""
        self.answered = 0
        self.refused = 0
        self.expired = 0
        self.batches = 0
        self.swaps = 0
        self._model: Served | None = None

    def use(self, model: Served) -> None:
        """Answer with this model from now on."""
        self.swaps += self._model is not None
        self._model = model
        self.model_name = model.manifest.reference

    def answer(
        self, asked: Sequence[tuple[bytes, PredictRequest]], now_ns: int
    ) -> list[tuple[bytes, InferenceReply]]:
        """Answer requests in one prediction.

        Parameters
        ----------
        asked
            Who asks, and what.
        now_ns
            Time of the call, CLOCK_BOOTTIME: what is past its deadline is dropped.

        Returns
        -------
        list of (bytes, InferenceReply)
            For whom, and what; in no particular order.
        """
        replies: list[tuple[bytes, InferenceReply]] = []
        sound: list[tuple[bytes, PredictRequest]] = []
        model = self._model
        for one in asked:
            sender, request = one
            if now_ns >= request.deadline_ns:
                self.expired += 1
            elif model is None:
                replies.append((sender, self._refuse(request, self.no_model)))
            elif problem := _problem(model, request):
                replies.append((sender, self._refuse(request, problem)))
            else:
                sound.append(one)
        if model is not None and sound:
            self._predict(model, sound, replies)
        return replies

    def _predict(
        self,
        model: Served,
        asked: list[tuple[bytes, PredictRequest]],
        replies: list[tuple[bytes, InferenceReply]],
    ) -> None:
        """Add a reply to each request; all have the right shape."""
        # All rows as one array: one copy, in which the model's own features are chosen once for all.
        received = np.frombuffer(b"".join([request.features for _, request in asked]), "<f8")
        shape = (len(asked), len(FEATURES)) if model.steps == 1 else (len(asked), model.steps, len(FEATURES))
        rows = received.reshape(shape).take(model.columns, axis=-1)
        numbers = model.is_sound(rows)
        if not numbers.all():
            sound = np.all(numbers.reshape(len(asked), -1), axis=1)
            for (sender, request), row in zip(_chosen(asked, ~sound), rows[~sound], strict=True):
                replies.append((sender, self._refuse(request, _not_finite(model, row))))
            asked, rows = _chosen(asked, sound), rows[sound]
            if not asked:
                return
        self.batches += 1
        name, manifest = self.model_name, model.manifest
        horizon_bars, event = manifest.label.horizon_bars, manifest.label.kind
        expires_ms, kind = manifest.expires_ms, manifest.kind
        touched = manifest.experience.touched
        untouched_return = manifest.experience.untouched_return or 0.0  # not measured: as if the price stood still
        symbols = [request.symbol for _, request in asked]
        probabilities = model.predict(rows, symbols).tolist()
        outside = model.out_of_range(rows, symbols).tolist()
        for (sender, request), probability, count, (above, below) in zip(
            asked, probabilities, outside, model.barriers(rows), strict=True
        ):
            if not 0 <= probability <= 1:
                problem = f"{name} gave the probability {probability}; train again"
                replies.append((sender, self._refuse(request, problem)))
                continue
            self.answered += 1
            number, symbol, bar_ms = request.request_id, request.symbol, request.bar_ms
            prediction = Prediction(
                number,
                symbol,
                bar_ms,
                probability,
                name,
                above,
                below,
                horizon_bars,
                expires_ms,
                touched,
                untouched_return,
                count,
                kind,
                event,
            )
            replies.append((sender, prediction))

    def _refuse(self, request: PredictRequest, reason: str) -> PredictionRefused:
        self.refused += 1
        self.last_refusal = f"{request.symbol:.{_QUOTED}}: {reason}"
        return PredictionRefused(request.request_id, request.symbol, reason)


def _problem(model: Served, request: PredictRequest) -> str:
    """What keeps a request from being answered by a model, but for its numbers; empty if nothing does."""
    if request.feature_set != FEATURE_SET:
        return (
            f"features are of the set {request.feature_set!r:.{_QUOTED}}, this pool knows {FEATURE_SET!r}; "
            "restart what asks"
        )
    expected = model.steps * len(FEATURES)
    if len(request.features) != _BYTES * expected or request.steps != model.steps:
        return (
            f"{len(request.features)} bytes of features of {request.steps} bars, expected {_BYTES * expected}: "
            f"{len(FEATURES)} float64 of {model.steps}"
        )
    if not model.answers_for(request.symbol):
        name = model.manifest.reference
        return f"{name} has no trees for {request.symbol:.{_QUOTED}}; train again with its candles"
    return ""


def _chosen(
    asked: list[tuple[bytes, PredictRequest]], chosen: NDArray[np.bool_]
) -> list[tuple[bytes, PredictRequest]]:
    return [item for item, take in zip(asked, chosen.tolist(), strict=True) if take]


def _not_finite(model: Served, row: Floats) -> str:
    at = int(np.flatnonzero(~model.is_sound(row).reshape(-1))[0])
    name, value = model.manifest.features[at % len(model.columns)], float(row.reshape(-1)[at])
    return f"feature {name} is {value}, expected a finite number"
