"""An engine's way to the inference pool: questions of the core out, answers and misses in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from levibot.bus.messages import EngineReport, Prediction
from levibot.clock import boot_ns
from levibot.engine import inputs
from levibot.engine.commands import AskModel
from levibot.errors import ConfigError
from levibot.ml.client import Answered, InferenceClient
from workers.runtime import Runtime

_LOCKSTEP_DEADLINE = 20.0  # seconds: a slow machine must not change decisions; the feed waits for 30


class ModelPort:
    """Between core and pool. An answer that is missed is no error of the engine: it is counted, and told once.

    Parameters
    ----------
    runtime
        Of the worker.
    refuse
        Called with what was wrong with a message.

    Raises
    ------
    ConfigError
        If the worker was given no settings of the pool.
    """

    def __init__(self, runtime: Runtime, refuse: Callable[[str], None]) -> None:
        spec = runtime.spec
        if spec.inference is None:
            raise ConfigError(f"{spec.worker}: its strategy asks a model, but it was started without [inference]")
        self._symbol = spec.symbol
        self._log = runtime.log
        self._client = InferenceClient(
            runtime.context,
            spec.endpoints.inference,
            name=spec.worker,
            deadline=_LOCKSTEP_DEADLINE if spec.lockstep else spec.inference.deadline,
            refuse=refuse,
        )
        self.sockets = self._client.sockets
        self._asked: dict[int, int] = {}  # number of the client → number of the core
        self._newest: Prediction | None = None
        self._no_model = ""
        self._missed_in_a_row = 0

    @property
    def due_ns(self) -> int | None:
        """When `take` must be called at the latest; None while nothing is open."""
        return self._client.due_ns

    def ask(self, command: AskModel) -> None:
        """Put a question to the pool."""
        number = self._client.ask(self._symbol, command.bar_ms, command.question, boot_ns())
        self._asked[number] = command.request_id

    def take(self) -> Iterator[inputs.PredictionReceived | inputs.PredictionMissed]:
        """What became of the questions."""
        now_ns = boot_ns()
        for outcome in [*self._client.drain(now_ns), *self._client.expire(now_ns)]:
            request_id = self._asked.pop(outcome.request_id)
            if isinstance(outcome, Answered):
                self._note_answer(outcome.prediction)
                yield inputs.PredictionReceived(now_ns, request_id, outcome.prediction)
            else:
                self._note_miss(outcome.reason)
                yield inputs.PredictionMissed(now_ns, request_id, outcome.reason)

    def report(self, report: EngineReport) -> EngineReport:
        """`report` with what models said, and how long they took."""
        newest, client = self._newest, self._client
        return msgspec.structs.replace(
            report,
            prob_up=newest.probability if newest and not self._no_model else None,
            model=newest.model if newest else "",
            no_model=self._no_model,
            predictions=client.answered,
            missed=client.missed,
            missed_in_a_row=self._missed_in_a_row,
            inference_buckets=client.round_trips.cumulative(),
            inference_seconds=client.round_trips.seconds,
        )

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def _note_answer(self, prediction: Prediction) -> None:
        if self._missed_in_a_row:
            self._log.info("model_answers_again", model=prediction.model, missed=self._missed_in_a_row)
        expired = ""
        if prediction.is_expired:
            expired = f"{prediction.model} is too old to open positions; run `levibotctl train` on newer candles"
            if expired != self._no_model:
                self._log.warning("model_expired", reason=expired)
        self._newest, self._no_model, self._missed_in_a_row = prediction, expired, 0

    def _note_miss(self, reason: str) -> None:
        if not self._missed_in_a_row:
            self._log.warning("no_answer_of_a_model", reason=reason[:300])
        self._no_model = reason[:300]
        self._missed_in_a_row += 1
