"""An engine's way to the inference pool: questions of the core out, what each kind of model said in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

import msgspec
import zmq

from levibot.bus.messages import Component, EngineReport, ModelKind, Prediction
from levibot.clock import boot_ns
from levibot.engine import inputs
from levibot.engine.commands import AskModel
from levibot.errors import ConfigError
from levibot.ml.client import Answered, InferenceClient, Missed
from levibot.strategies.components import NO_ANSWER
from workers.runtime import Runtime

_NO_SEQUENCE = "was not asked: too few bars without a hole for its sequence yet"
_LOCKSTEP_DEADLINE = 20.0  # seconds: a slow machine must not change decisions; the feed waits for 30


class ModelPort:
    """Between core and pool. An answer that is missed is no error of the engine: it is counted, and told once.

    Each kind of model has a lane of its own, and a deadline. The core is told once what all have said, as
    soon as each has answered or will not any more.

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

        def lane(kind: ModelKind, endpoints: tuple[str, ...], deadline: float) -> _Lane:
            deadline = _LOCKSTEP_DEADLINE if spec.lockstep else deadline
            client = InferenceClient(
                runtime.context, endpoints, kind=kind, name=spec.worker, deadline=deadline, refuse=refuse
            )
            return _Lane(kind, client, runtime)

        self._lightgbm = lane("lightgbm", spec.endpoints.inference, spec.inference.deadline)
        self._lanes = [self._lightgbm]
        if spec.endpoints.tft:
            self._lanes.append(lane("tft", spec.endpoints.tft, spec.inference.tft_deadline))
        self.sockets = [socket for lane in self._lanes for socket in lane.client.sockets]
        self._open: dict[int, _Asked] = {}  # by number of the core

    @property
    def due_ns(self) -> int | None:
        """When `take` must be called at the latest; None while nothing is open."""
        due = (lane.client.due_ns for lane in self._lanes)
        return min((due_ns for due_ns in due if due_ns is not None), default=None)

    def is_due(self, ready: Set[zmq.Socket[bytes]]) -> bool:
        """Whether `take` has something to do, where something waits on the sockets `ready`."""
        return not ready.isdisjoint(self.sockets) or (self.due_ns is not None and boot_ns() >= self.due_ns)

    def ask(self, command: AskModel) -> None:
        """Put a question to the pool."""
        asked = self._open[command.request_id] = _Asked()
        now_ns = boot_ns()
        for lane in self._lanes:
            if lane is self._lightgbm or command.question.sequence:
                asked.waiting.add(lane.kind)
                lane.ask(self._symbol, command, now_ns)
            else:
                asked.missing[lane.kind] = lane.trouble = _NO_SEQUENCE

    def take(self) -> Iterator[inputs.ModelsAnswered]:
        """What became of the questions."""
        now_ns = boot_ns()
        for lane in self._lanes:
            for request_id, outcome in lane.take(now_ns):
                asked = self._open[request_id]
                asked.waiting.discard(lane.kind)
                if isinstance(outcome, Answered):
                    asked.predictions.append(outcome.prediction)
                else:
                    asked.missing[lane.kind] = outcome.reason
                if not asked.waiting:
                    del self._open[request_id]
                    yield inputs.ModelsAnswered(now_ns, request_id, tuple(asked.predictions), asked.missing)

    def report(self, report: EngineReport, *, judged: bool) -> EngineReport:
        """`report` with what models said, and how long they took.

        Parameters
        ----------
        report
            Of the core.
        judged
            Whether what they said is of the newest bar; after a hole in the market it is not, and not told.
        """
        lane, client = self._lightgbm, self._lightgbm.client
        newest = lane.newest
        probability = report.prob_up if report.components else newest.probability if newest else None
        return msgspec.structs.replace(
            report,
            prob_up=None if lane.trouble or not judged else probability,
            components={name: self._explained(name, one) for name, one in report.components.items()},
            model=newest.model if newest else "",
            no_model=lane.trouble,
            predictions=client.answered,
            missed=client.missed,
            missed_in_a_row=lane.missed_in_a_row,
            inference_buckets=client.round_trips.cumulative(),
            inference_seconds=client.round_trips.seconds,
        )

    def _explained(self, name: str, component: Component) -> Component:
        """Why a model said nothing, if more is known of it here."""
        if component.trouble != NO_ANSWER:
            return component
        lane = next((lane for lane in self._lanes if lane.kind == name), None)
        if lane is None:
            return Component(trouble=f"absent: inference.{name}_processes is 0", configured=False)
        return Component(trouble=lane.trouble or NO_ANSWER)

    def close(self) -> None:
        """Close the sockets."""
        for lane in self._lanes:
            lane.client.close()


@dataclass
class _Asked:
    """What the lanes have said to a question of the core."""

    waiting: set[ModelKind] = field(default_factory=set)
    predictions: list[Prediction] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


class _Lane:
    """One kind of model, and how it fares."""

    def __init__(self, kind: ModelKind, client: InferenceClient, runtime: Runtime) -> None:
        self.kind = kind
        self.client = client
        self.newest: Prediction | None = None
        self.trouble = ""  # why the newest question has no answer that may be acted on
        self.missed_in_a_row = 0
        self._log = runtime.log
        self._asked: dict[int, int] = {}  # number of the client → number of the core

    def ask(self, symbol: str, command: AskModel, now_ns: int) -> None:
        self._asked[self.client.ask(symbol, command.bar_ms, command.question, now_ns)] = command.request_id

    def take(self, now_ns: int) -> Iterator[tuple[int, Answered | Missed]]:
        """Questions of the core, and what became of them."""
        for outcome in [*self.client.drain(now_ns), *self.client.expire(now_ns)]:
            if isinstance(outcome, Answered):
                self._note_answer(outcome.prediction)
            else:
                self._note_miss(outcome.reason)
            yield self._asked.pop(outcome.request_id), outcome

    def _note_answer(self, prediction: Prediction) -> None:
        if self.missed_in_a_row:
            self._log.info("model_answers_again", model=prediction.model, missed=self.missed_in_a_row)
        expired = ""
        if prediction.is_expired:
            expired = f"{prediction.model} is too old to open positions; run `levibotctl train` on newer candles"
            if expired != self.trouble:
                self._log.warning("model_expired", reason=expired)
        self.newest, self.trouble, self.missed_in_a_row = prediction, expired, 0

    def _note_miss(self, reason: str) -> None:
        if not self.missed_in_a_row:
            self._log.warning("no_answer_of_a_model", kind=self.kind, reason=reason[:300])
        self.trouble = reason[:300]
        self.missed_in_a_row += 1
