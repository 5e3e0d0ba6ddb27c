"""What an engine holds of one lane of the inference pool: questions out, the first answer to each in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    INFERENCE_BOUNDS,
    InferenceReply,
    ModelKind,
    Prediction,
    PredictionRefused,
    PredictRequest,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.errors import MalformedMessageError
from levibot.observability.histogram import Histogram
from levibot.strategies.base import Question

LANES: dict[ModelKind, str] = {"lightgbm": "inference", "tft": "tft"}  # what the processes are called

_FORGET_AFTER = 3  # deadlines after which a question to a silent process no longer counts against it
_CONNECT_AGAIN_NS = 20_000_000  # while nobody is connected, which may last a moment after a start
_HIGH_WATER_MARK = 1_000


@dataclass(frozen=True)
class Answered:
    """A model's answer that came in time."""

    request_id: int
    prediction: Prediction
    round_trip_ns: int  # from the question, however often it was asked


@dataclass(frozen=True)
class Missed:
    """A question that has no answer and will get none."""

    request_id: int
    reason: str


@dataclass
class _Open:
    """A question without an answer yet."""

    symbol: str
    bar_ms: int
    body: bytes
    asked_ns: int
    deadline_ns: int
    refusals: dict[int, str] = field(default_factory=dict)  # by process
    silent: list[int] = field(default_factory=list)  # processes that were asked and have said nothing

    def tried(self, process: int) -> bool:
        """Whether a process has this question already."""
        return process in self.silent or process in self.refusals


class InferenceClient:
    """Asks a lane, each question of the process with the least to do, and again elsewhere when it is late.

    A process that was killed or stopped is found out by what it leaves unanswered. It is preferred again a
    few deadlines later, which costs nothing: until it answers, another is asked at half the deadline.

    Call `drain` before `expire`, or a question is given up whose answer waits in the socket.

    Parameters
    ----------
    context
        Of this process.
    endpoints
        ROUTER of each process of the lane; none means that every question is missed.
    kind
        Of model: which lane it is.
    name
        Of the engine; also decides with which process it begins, so that engines spread.
    deadline
        Seconds until a question is given up. At half of it another process is asked.
    refuse
        Called with what was wrong with a message that could not be read, or made no sense.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Sequence[str],
        *,
        kind: ModelKind = "lightgbm",
        name: str,
        deadline: float,
        refuse: Callable[[str], None],
    ) -> None:
        self.sockets = [_connect(context, endpoint, name) for endpoint in endpoints]
        self.answered = 0  # in time
        self.missed = 0
        self.asked_elsewhere = 0  # questions that were put to a further process
        self.refused = 0  # refusals that came from processes
        self.late = 0  # answers that were too late, or not the first
        self.round_trips = Histogram(INFERENCE_BOUNDS)
        self._kind = kind
        self._deadline_ns = int(deadline * 1e9)
        self._refuse = refuse
        self._decode: Decoder[InferenceReply] = Decoder(InferenceReply)
        self._next_id = boot_ns()  # an answer to an earlier incarnation of the engine can never match
        self._turn = zlib.crc32(name.encode())
        self._open: dict[int, _Open] = {}  # oldest first, which is also the order of the deadlines
        self._again: list[tuple[int, int]] = []  # heap of when a question is put to a further process, and which
        self._unanswered: list[dict[int, int]] = [{} for _ in endpoints]  # of each process: id → when sent
        self._lost: list[Missed] = []  # known before anybody could ask

    @property
    def due_ns(self) -> int | None:
        """When `expire` has something to do; None while nothing is open."""
        if self._lost:
            return 0
        while self._again and self._again[0][1] not in self._open:
            heappop(self._again)
        if not self._open:
            return None
        due_ns = next(iter(self._open.values())).deadline_ns
        return min(due_ns, self._again[0][0]) if self._again else due_ns

    def ask(self, symbol: str, bar_ms: int, question: Question, now_ns: int) -> int:
        """Ask for the probability after a bar; the answer, or that there is none, comes by `drain` or `expire`.

        Parameters
        ----------
        symbol, bar_ms
            The bar, by its opening time in Unix ms.
        question
            Features of the bar; a model of sequences is given the sequence.
        now_ns
            Time of the call, CLOCK_BOOTTIME.

        Returns
        -------
        int
            Number of the question, never used twice.
        """
        request_id = self._next_id
        self._next_id += 1
        if not self.sockets:
            self._miss(request_id, "there is no inference pool: inference.processes is 0")
            return request_id
        deadline_ns = now_ns + self._deadline_ns
        features, steps = question.sequence, question.steps
        if self._kind != "tft":
            features, steps = struct.pack(f"<{len(question.features)}d", *question.features), 1
        request = PredictRequest(request_id, symbol, bar_ms, question.feature_set, features, deadline_ns, steps)
        asked = _Open(symbol, bar_ms, encode(request), now_ns, deadline_ns)
        self._open[request_id] = asked
        self._forget(now_ns)
        self._turn += 1
        self._begin(request_id, asked, now_ns)
        return request_id

    def drain(self, now_ns: int) -> list[Answered | Missed]:
        """What has come in since the last call: first answers, and questions that all have refused."""
        taken: list[Answered | Missed] = []
        for process, socket in enumerate(self.sockets):
            for frames in drain(socket):
                try:
                    reply = self._decode(frames[-1])
                except MalformedMessageError as error:
                    self._refuse(f"from {self._process(process)}: {error}")
                    continue
                outcome = self._take(process, reply, now_ns)
                if outcome is not None:
                    taken.append(outcome)
        return taken + self._take_lost()

    def expire(self, now_ns: int) -> list[Missed]:
        """Ask elsewhere what is half-way to its deadline, and give up what has reached it."""
        while self._again and self._again[0][0] <= now_ns:
            _, request_id = heappop(self._again)
            asked = self._open.get(request_id)
            if asked is None or now_ns >= asked.deadline_ns:
                continue
            if asked.silent or asked.refusals:
                self._ask_elsewhere(request_id, asked, now_ns)
            else:
                self._begin(request_id, asked, now_ns)
        while self._open:
            request_id, asked = next(iter(self._open.items()))
            if now_ns < asked.deadline_ns:
                break
            del self._open[request_id]
            self._miss(request_id, self._why_none(asked))
        self._forget(now_ns)
        return self._take_lost()

    def close(self) -> None:
        """Close the sockets; what is open is forgotten."""
        for socket in self.sockets:
            socket.close(0)

    # ------------------------------------------------------------------ parts

    def _send(self, request_id: int, asked: _Open, now_ns: int) -> bool:
        """Put a question to the process with the least to do that has not got it; False if nobody takes it."""
        count = len(self.sockets)
        untried = [process for process in range(count) if not asked.tried(process)]
        # Equals take turns. A process that is not connected takes nothing, and the next one is asked at once.
        for process in sorted(untried, key=lambda p: (len(self._unanswered[p]), (p - self._turn) % count)):
            if send(self.sockets[process], asked.body):
                asked.silent.append(process)
                self._unanswered[process][request_id] = now_ns
                return True
        return False

    def _begin(self, request_id: int, asked: _Open, now_ns: int) -> None:
        """Put a question to the first process, and note when another is due; again soon if none is connected."""
        half_ns = (asked.deadline_ns - now_ns) // 2
        sent = self._send(request_id, asked, now_ns)
        heappush(self._again, (now_ns + (half_ns if sent else min(half_ns, _CONNECT_AGAIN_NS) + 1), request_id))

    def _ask_elsewhere(self, request_id: int, asked: _Open, now_ns: int) -> None:
        if self._send(request_id, asked, now_ns):
            self.asked_elsewhere += 1

    def _take(self, process: int, reply: InferenceReply, now_ns: int) -> Answered | Missed | None:
        request_id = reply.request_id
        self._unanswered[process].pop(request_id, None)
        asked = self._open.get(request_id)
        if isinstance(reply, PredictionRefused):
            self.refused += 1
            return None if asked is None else self._take_refusal(process, reply, asked, now_ns)
        if asked is None or now_ns >= asked.deadline_ns:
            self.late += 1
            return None
        expected = (asked.symbol, asked.bar_ms, self._kind)
        if (reply.symbol, reply.bar_ms, reply.kind) != expected or not _makes_sense(reply):
            self._refuse(
                f"from {self._process(process)}: {reply} is no answer of {self._kind} about {asked.symbol} at "
                f"{asked.bar_ms}"
            )
            return None
        del self._open[request_id]
        round_trip_ns = now_ns - asked.asked_ns
        self.answered += 1
        self.round_trips.observe(round_trip_ns / 1e9)
        return Answered(request_id, reply, round_trip_ns)

    def _take_refusal(self, process: int, refusal: PredictionRefused, asked: _Open, now_ns: int) -> Missed | None:
        asked.refusals[process] = refusal.reason
        if process in asked.silent:
            asked.silent.remove(process)
        if not asked.silent:  # else another is thinking about it already
            self._ask_elsewhere(refusal.request_id, asked, now_ns)
        if len(asked.refusals) < len(self.sockets):
            return None
        del self._open[refusal.request_id]
        self.missed += 1
        return Missed(refusal.request_id, self._why_none(asked))

    def _why_none(self, asked: _Open) -> str:
        reasons = list(dict.fromkeys(asked.refusals.values()))
        if asked.silent:
            silent = " and ".join(map(self._process, sorted(asked.silent)))
            reasons.append(f"no answer from {silent} within {self._deadline_ns / 1e9:g} s")
        return "; ".join(reasons) or f"no {LANES[self._kind]} process is connected"

    def _process(self, index: int) -> str:
        return f"{LANES[self._kind]}-{index}"

    def _miss(self, request_id: int, reason: str) -> None:
        self.missed += 1
        self._lost.append(Missed(request_id, reason))

    def _take_lost(self) -> list[Missed]:
        lost, self._lost = self._lost, []
        return lost

    def _forget(self, now_ns: int) -> None:
        """Give silent processes another chance, and keep what is remembered of them small."""
        oldest_ns = now_ns - _FORGET_AFTER * self._deadline_ns
        for unanswered in self._unanswered:
            while unanswered:
                request_id, sent_ns = next(iter(unanswered.items()))
                if sent_ns > oldest_ns:
                    break
                del unanswered[request_id]


def _makes_sense(prediction: Prediction) -> bool:
    return (
        0 <= prediction.probability <= 1  # NaN is neither
        and 0 < prediction.take_profit < 1
        and 0 < prediction.stop_loss < 1
        and prediction.horizon_bars > 0
        and 0 <= prediction.touched <= 1
        and -1 < prediction.untouched_return < 1
    )


def _connect(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: str) -> zmq.Socket[bytes]:
    socket = make_socket(context, zmq.DEALER, identity=name.encode(), high_water_mark=_HIGH_WATER_MARK)
    # Without a connection nothing is queued but refused, so a dead process is passed over at once.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.connect(endpoint)
    return socket
