"""Answers many engines' questions at once, with whatever model is in force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levibot.bus.messages import InferenceReply, Prediction, PredictionRefused, PredictRequest
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.ml.model import Model

_BYTES = 8  # of one feature
_QUOTED = 60  # characters of what somebody else sent


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
        self._model: Model | None = None

    def use(self, model: Model) -> None:
        """Answer with this model from now on."""
        self.swaps += self._model is not None
        self._model = model
        self.model_name = model.label

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
        for sender, request in asked:
            if now_ns >= request.deadline_ns:
                self.expired += 1
            elif problem := self._problem(request):
                replies.append((sender, self._refuse(request, problem)))
            else:
                sound.append((sender, request))
        if self._model is not None and sound:
            replies += self._predict(self._model, sound)
        return replies

    def _problem(self, request: PredictRequest) -> str:
        if self._model is None:
            return self.no_model
        if request.feature_set != FEATURE_SET:
            return (
                f"features are of the set {request.feature_set!r:.{_QUOTED}}, this pool knows {FEATURE_SET!r}; "
                "restart what asks"
            )
        expected = len(FEATURES)
        if len(request.features) != _BYTES * expected:
            return f"{len(request.features)} bytes of features, expected {_BYTES * expected}: {expected} float64"
        return ""

    def _predict(
        self, model: Model, sound: list[tuple[bytes, PredictRequest]]
    ) -> list[tuple[bytes, InferenceReply]]:
        rows = np.frombuffer(b"".join(request.features for _, request in sound), "<f8").reshape(len(sound), -1)
        rows = rows[:, model.columns]
        finite = np.all(model.is_sound(rows), axis=1)
        replies: list[tuple[bytes, InferenceReply]] = []
        if not finite.all():
            for (sender, request), row in zip(_chosen(sound, ~finite), rows[~finite], strict=True):
                replies.append((sender, self._refuse(request, _not_finite(model, row))))
            sound, rows = _chosen(sound, finite), rows[finite]
        if not sound:
            return replies
        manifest, label = model.manifest, model.manifest.label
        self.batches += 1
        probabilities, outside = model.predict(rows).tolist(), model.out_of_range(rows).tolist()
        for (sender, request), probability, count, barriers in zip(
            sound, probabilities, outside, model.barriers(rows), strict=True
        ):
            if not 0 <= probability <= 1:
                problem = f"{self.model_name} gave the probability {probability}; train again"
                replies.append((sender, self._refuse(request, problem)))
                continue
            self.answered += 1
            prediction = Prediction(
                request.request_id,
                request.symbol,
                request.bar_ms,
                probability,
                self.model_name,
                *barriers,
                label.horizon_bars,
                manifest.expires_ms,
                count,
                manifest.kind,
            )
            replies.append((sender, prediction))
        return replies

    def _refuse(self, request: PredictRequest, reason: str) -> PredictionRefused:
        self.refused += 1
        self.last_refusal = f"{request.symbol:.{_QUOTED}}: {reason}"
        return PredictionRefused(request.request_id, request.symbol, reason)


def _chosen(
    asked: list[tuple[bytes, PredictRequest]], chosen: NDArray[np.bool_]
) -> list[tuple[bytes, PredictRequest]]:
    return [item for item, take in zip(asked, chosen.tolist(), strict=True) if take]


def _not_finite(model: Model, row: NDArray[np.float64]) -> str:
    at = int(np.flatnonzero(~model.is_sound(row))[0])
    name, value = model.manifest.features[at], float(row[at])
    return f"feature {name} is {value}, expected a finite number"
