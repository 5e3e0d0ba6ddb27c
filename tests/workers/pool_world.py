"""The world of an engine whose strategy asks models: the same, and pool processes under a test's control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import InferenceReply, ModelKind, Prediction, PredictionRefused, PredictRequest
from levibot.bus.sockets import drain, ipc, make_socket
from levibot.config_ml import InferenceConfig
from levibot.ml.features import WINDOW
from tests.workers.engine_world import World


class PoolProcess:
    """Answers every question with one probability, or refuses, or says nothing."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, kind: ModelKind = "lightgbm"
    ) -> None:
        self._kind = kind
        self._router = make_socket(context, zmq.ROUTER, bind=endpoint)
        self._decode: Decoder[PredictRequest] = Decoder(PredictRequest)
        self.mode = "answer"  # or "refuse", "silent", "junk"
        self.probability = 0.5
        self.expires_ms = 0
        self.requests: list[PredictRequest] = []
        self._unanswered: list[tuple[bytes, PredictRequest]] = []

    def pump(self) -> None:
        for identity, body in drain(self._router):
            request = self._decode(body)
            self.requests.append(request)
            self._unanswered.append((identity, request))
            if self.mode == "junk":
                self._router.send_multipart([identity, b"\xc1"])
            elif self.mode != "silent":
                self.answer()

    def answer(self) -> None:
        """Answer, or refuse, all that waits."""
        for identity, request in self._unanswered:
            reply: InferenceReply = Prediction(
                request.request_id,
                request.symbol,
                request.bar_ms,
                self.probability,
                "test/1",
                0.012,
                0.008,
                30,
                self.expires_ms,
                1.0,
                0.0,
                kind=self._kind,
            )
            if self.mode == "refuse":
                reply = PredictionRefused(request.request_id, request.symbol, "no model test yet")
            self._router.send_multipart([identity, encode(reply)])
        self._unanswered.clear()


class PoolWorld(World):
    """A world with pool processes and the ensemble strategy; its engine is warm once it is ready.

    Parameters
    ----------
    directory, settings
        As of `World`.
    processes
        Of the pool.
    deadline
        Seconds until an engine does without an answer.
    """

    def __init__(self, directory: Path, *, processes: int = 1, deadline: float = 10.0, **settings: Any) -> None:
        super().__init__(directory, **{"strategy": "ensemble", **settings})
        endpoints = tuple(ipc(directory / f"inference-{index}") for index in range(processes))
        self.pool = [PoolProcess(self._context, endpoint) for endpoint in endpoints]
        self.spec = self.spec.model_copy(
            update={
                "endpoints": self.endpoints.model_copy(update={"inference": endpoints}),
                "inference": InferenceConfig(processes=processes, deadline=deadline),
            }
        )
        self.feed.publish_bars([100.0 + index % 3 / 100 for index in range(WINDOW)])

    def pump(self) -> None:
        super().pump()
        for process in self.pool:
            process.pump()

    def bar(self, probability: float = 0.5) -> None:
        """Close a bar, of which the pool will say this."""
        for process in self.pool:
            process.probability = probability
        self.feed.publish_tick()
        self.feed.publish_bars([100.0])
