"""One process of a lane of the inference pool. Wiring; the logic is `levibot.ml`."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import InferenceReport, PredictRequest, Stop
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.config_ml import InferenceConfig
from levibot.errors import MalformedMessageError
from workers.runtime import Runtime

if TYPE_CHECKING:
    from levibot.ml.service import PredictionService
    from levibot.ml.watch import ModelWatch

_FENCE_RETRY_MS = 20
_SWITCH_SECONDS = 0.0005  # most that a model which is being loaded holds up a request, each time


def main(runtime: Runtime) -> None:
    """Answer questions until told to stop."""
    # Before the first import of numpy and LightGBM: their thread pools hang in a forked child, and the
    # pool's processes are its threads.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    from levibot.ml.lanes import LANES
    from levibot.ml.service import PredictionService
    from levibot.ml.store import ModelStore
    from levibot.ml.watch import ModelWatch

    spec = runtime.spec
    assert spec.models_dir is not None
    config = spec.inference or InferenceConfig()
    wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    watch = ModelWatch(
        ModelStore(spec.models_dir),
        spec.model_name,
        LANES["tft" if spec.kind == "tft" else "lightgbm"],
        spec.exchange_id,
        spec.context,
        batch=config.batch,
        wake=lambda: os.eventfd_write(wake, 1),
    )
    worker = InferenceWorker(runtime, PredictionService(), watch, wake, config.batch)
    stop = worker.run()
    watch.close()
    if stop is not None:
        runtime.acknowledge(stop)


class InferenceWorker:
    """Sockets and commands around a `PredictionService` and a `ModelWatch`.

    Parameters
    ----------
    runtime
        Of this process.
    service
        Answers.
    watch
        Brings models, not started yet.
    wake
        Event descriptor that becomes readable when the watch has news.
    batch
        Most requests that are answered in one go.
    """

    def __init__(
        self, runtime: Runtime, service: PredictionService, watch: ModelWatch, wake: int, batch: int
    ) -> None:
        self._runtime = runtime
        self._service = service
        self._watch = watch
        self._wake = wake
        self._batch = batch
        self._decode: Decoder[PredictRequest] = Decoder(PredictRequest)
        self._trouble = ""
        self._refused_messages = 0
        self._stop: Stop | None = None
        self._poller = zmq.Poller()
        self._poller.register(runtime.control, zmq.POLLIN)
        self._poller.register(wake, zmq.POLLIN)

    def run(self) -> Stop | None:
        """Take the fence, look for a model, then answer until a stop comes; return it."""
        runtime, status = self._runtime, self._runtime.status
        status.waiting_for = "fence"
        while self._stop is None and not runtime.fence.acquire():
            self._turn(_FENCE_RETRY_MS)
        self._watch.start()
        status.waiting_for = "model"
        while self._stop is None and not self._watch.looked:
            self._turn(None)
        if self._stop is None:
            self._serve()
        return self._stop

    def _serve(self) -> None:
        """Bound only now: until there is an answer to be had, engines ask the others."""
        runtime, spec = self._runtime, self._runtime.spec
        gc.collect()
        gc.freeze()  # to look through the libraries' objects takes longer than to answer
        sys.setswitchinterval(_SWITCH_SECONDS)
        endpoints = spec.endpoints.tft if spec.kind == "tft" else spec.endpoints.inference
        router = make_socket(runtime.context, zmq.ROUTER, bind=endpoints[spec.index])
        self._poller.register(router, zmq.POLLIN)
        runtime.status.ready, runtime.status.waiting_for = True, ""
        try:
            while self._stop is None:
                self._turn(None)
                self._answer(router)
        finally:
            router.close(0)

    def _turn(self, most_ms: int | None) -> None:
        """Wait for something to do, then see to commands, models and the heartbeat."""
        runtime = self._runtime
        beat_ms = int(runtime.seconds_to_beat() * 1000) + 1
        self._poller.poll(beat_ms if most_ms is None else min(most_ms, beat_ms))
        runtime.status.turns += 1
        for command in runtime.commands():
            if isinstance(command, Stop):
                self._stop = command  # acknowledged when all is closed
            else:
                runtime.acknowledge(command)
        self._take_model()
        runtime.beat(self._report)

    def _take_model(self) -> None:
        """Between two batches, so that each is answered by one model, and none is lost."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        service, log = self._service, self._runtime.log
        trouble = self._watch.trouble  # first: where that is over, the model is there to be taken
        model = self._watch.take()
        if model is not None:
            before = service.model_name
            service.use(model)
            log.info("model_taken", model=service.model_name, before=before)
        if trouble != self._trouble:
            self._trouble = service.no_model = trouble
            if trouble:
                log.warning("model_trouble", reason=trouble)
        self._runtime.beat(self._report, force=True)  # whoever promotes a model waits for this

    def _answer(self, router: zmq.Socket[bytes]) -> None:
        asked = []
        for frames in drain(router, self._batch):
            sender, body = frames[0], frames[-1]
            try:
                asked.append((sender, self._decode(body)))
            except MalformedMessageError as error:
                self._refused_messages += 1
                self._tell("message_refused", f"from {sender[:40]!r}: {error}", self._refused_messages)
        status, service = self._runtime.status, self._service
        status.queue_depth = len(asked)
        if not asked:
            return
        refused = service.refused
        status.decision_ns = boot_ns()
        for sender, reply in service.answer(asked, status.decision_ns):
            send(router, sender, encode(reply))
        if service.refused > refused:
            self._tell("prediction_refused", service.last_refusal, service.refused)

    def _tell(self, event: str, reason: str, count: int) -> None:
        self._runtime.warn_limited(event, reason=reason[:300], refused_in_all=count)

    def _report(self) -> InferenceReport:
        service = self._service
        return InferenceReport(
            model=service.model_name,
            trouble=self._trouble,
            answered=service.answered,
            refused=service.refused,
            expired=service.expired,
            batches=service.batches,
            swaps=service.swaps,
            refused_messages=self._refused_messages,
        )
