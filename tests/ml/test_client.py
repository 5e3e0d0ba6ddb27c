"""The engine's side of the inference channel, against pool processes that a test plays."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import Message, ModelKind, Prediction, PredictionRefused, PredictRequest
from levibot.bus.sockets import ipc, make_socket
from levibot.ml.client import Answered, InferenceClient, Missed
from levibot.strategies.base import Question
from tests.deadline import wait_for

Context = zmq.Context[zmq.Socket[bytes]]

SYMBOL, BAR_MS, DEADLINE_NS = "BTC/USDT", 60_000, 200_000_000
QUESTION = Question("set-1", (0.5, -1.25, 3.0))


class Process:
    """One pool process that answers only what it is told to."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.endpoint = endpoint
        self._context = context
        self._decode: Decoder[PredictRequest] = Decoder(PredictRequest)
        self.open()

    def open(self) -> None:
        self.socket = make_socket(self._context, zmq.ROUTER, bind=self.endpoint)

    def die(self) -> None:
        self.socket.close(0)

    def received(self, milliseconds: int = 60_000) -> list[tuple[bytes, PredictRequest]]:
        """What has come; waits for the first."""
        got = []
        while self.socket.poll(0 if got else milliseconds):
            sender, body = self.socket.recv_multipart()
            got.append((sender, self._decode(body)))
        return got

    def reply(self, sender: bytes, message: Message) -> None:
        self.socket.send_multipart([sender, encode(message)])

    def answer(self) -> PredictRequest:
        """Answer the one question that is here."""
        ((sender, request),) = self.received()
        self.reply(sender, prediction(request))
        return request

    def refuse(self, reason: str) -> None:
        ((sender, request),) = self.received()
        self.reply(sender, PredictionRefused(request.request_id, request.symbol, reason))


class Pool:
    """Two processes and one client that is connected to both."""

    def __init__(self, context: Context, folder: Path, count: int = 2, kind: ModelKind = "lightgbm") -> None:
        self.complaints: list[str] = []
        self.processes = [Process(context, ipc(folder / f"inference-{n}.sock")) for n in range(count)]
        self.client = InferenceClient(
            context,
            [process.endpoint for process in self.processes],
            kind=kind,
            name="engine-BTC-USDT",
            deadline=DEADLINE_NS / 1e9,
            refuse=self.complaints.append,
        )
        self.wait_connected()

    def wait_connected(self) -> None:
        wait_for(lambda: all(s.getsockopt(zmq.EVENTS) & zmq.POLLOUT for s in self.client.sockets), "a connection")

    def ask(self, now_ns: int) -> int:
        return self.client.ask(SYMBOL, BAR_MS, QUESTION, now_ns)

    def asked(self) -> Process:
        """The process that got the newest question."""
        return wait_for(lambda: next((p for p in self.processes if p.socket.poll(0)), None), "a question")

    def other(self, process: Process) -> Process:
        return next(p for p in self.processes if p is not process)

    def outcome(self, now_ns: int) -> list[Answered | Missed]:
        """What the client makes of the next messages."""
        return wait_for(lambda: self.client.drain(now_ns), "an outcome")

    def swallowed(self, now_ns: int) -> None:
        """Drain a message that has no outcome."""
        wait_for(lambda: any(s.poll(0) for s in self.client.sockets), "a message")
        assert self.client.drain(now_ns) == []


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def pool(context: Context, run_dir: Path) -> Pool:
    return Pool(context, run_dir)


def prediction(request: PredictRequest) -> Prediction:
    return Prediction(
        request.request_id, request.symbol, request.bar_ms, 0.625, "m/1", 0.02, 0.01, 60, 10**13, 0.5, 0.0
    )


def test_a_question_is_answered(pool: Pool) -> None:
    number = pool.ask(1_000)
    request = pool.asked().answer()
    assert request == PredictRequest(
        number, SYMBOL, BAR_MS, "set-1", struct.pack("<3d", *QUESTION.features), 1_000 + DEADLINE_NS
    )
    (outcome,) = pool.outcome(1_000 + 2_000_000)
    assert outcome == Answered(number, prediction(request), 2_000_000)
    assert pool.client.due_ns is None
    assert (pool.client.answered, pool.client.missed, pool.client.asked_elsewhere) == (1, 0, 0)


def test_a_model_of_sequences_is_given_the_sequence_and_takes_only_its_own_kind_of_answer(
    context: Context, run_dir: Path
) -> None:
    pool = Pool(context, run_dir, 1, "tft")
    sequence = struct.pack("<6d", 1, 2, 3, *QUESTION.features)
    number = pool.client.ask(SYMBOL, BAR_MS, Question("set-1", QUESTION.features, sequence), 1_000)
    ((sender, request),) = pool.asked().received()
    assert request == PredictRequest(number, SYMBOL, BAR_MS, "set-1", sequence, 1_000 + DEADLINE_NS, 2)
    pool.processes[0].reply(sender, prediction(request))
    pool.swallowed(2_000)
    (complaint,) = pool.complaints
    assert complaint.startswith("from tft-0: ")
    right = msgspec.structs.replace(prediction(request), kind="tft")
    pool.processes[0].reply(sender, right)
    assert pool.outcome(3_000) == [Answered(number, right, 2_000)]


def test_round_trips_are_counted_cumulatively(pool: Pool) -> None:
    for round_trip_ns in (1_000_000, 1_000_001, 60_000_000):  # a bound belongs to its bucket
        pool.ask(0)
        pool.asked().answer()
        pool.outcome(round_trip_ns)
    assert pool.client.round_trips.cumulative() == [1, 2, 2, 2, 3, 3, 3, 3, 3]
    assert pool.client.round_trips.seconds == pytest.approx(0.062000001)


def test_without_a_pool_every_question_is_missed_at_once(context: Context) -> None:
    client = InferenceClient(context, [], name="engine", deadline=0.2, refuse=pytest.fail)
    number = client.ask(SYMBOL, BAR_MS, QUESTION, 5)
    assert client.due_ns is not None
    assert client.due_ns <= 5
    (missed,) = client.expire(5)
    assert isinstance(missed, Missed)
    assert missed.request_id == number
    assert "there is no inference pool" in missed.reason
    assert client.due_ns is None
    assert client.missed == 1


def test_equals_take_turns_and_the_name_decides_who_begins(context: Context, run_dir: Path) -> None:
    pool = Pool(context, run_dir)
    took = []
    for _ in range(4):
        pool.ask(0)
        took.append(pool.asked())
        took[-1].answer()
        pool.outcome(1)
    assert took[0] is not took[1]
    assert took[:2] == took[2:]
    beginners = set()
    for engine in range(8):
        client = InferenceClient(
            context, [p.endpoint for p in pool.processes], name=f"engine-{engine}", deadline=1, refuse=pytest.fail
        )
        wait_for(lambda c=client: all(s.getsockopt(zmq.EVENTS) & zmq.POLLOUT for s in c.sockets), "a connection")
        client.ask(SYMBOL, BAR_MS, QUESTION, 0)
        process = pool.asked()
        beginners.add(process.endpoint)
        process.answer()
    assert len(beginners) == 2, "engines spread over the pool"


def test_the_one_with_the_least_to_do_is_asked(pool: Pool) -> None:
    pool.ask(0)
    busy = pool.asked()
    busy.received()
    for _ in range(3):  # it would be its turn now and then, but it has not answered yet
        pool.ask(1)
        other = pool.other(busy)
        other.answer()
        pool.outcome(2)
    assert not busy.socket.poll(0)


def test_at_half_the_deadline_another_is_asked_and_the_first_answer_wins(pool: Pool) -> None:
    number = pool.ask(0)
    slow = pool.asked()
    ((sender, request),) = slow.received()
    assert pool.client.due_ns == DEADLINE_NS // 2
    assert pool.client.expire(DEADLINE_NS // 2 - 1) == []
    assert pool.client.asked_elsewhere == 0
    assert pool.client.expire(DEADLINE_NS // 2) == []
    assert pool.client.asked_elsewhere == 1
    assert pool.client.due_ns == DEADLINE_NS
    assert pool.other(slow).answer() == request
    (outcome,) = pool.outcome(DEADLINE_NS // 2 + 1)
    assert isinstance(outcome, Answered)
    assert outcome.request_id == number
    slow.reply(sender, prediction(request))  # now it answers too
    pool.swallowed(DEADLINE_NS // 2 + 2)
    assert (pool.client.answered, pool.client.late) == (1, 1)


def test_at_the_deadline_a_question_is_given_up(pool: Pool) -> None:
    number = pool.ask(0)
    process = pool.asked()
    pool.client.expire(DEADLINE_NS // 2)
    (missed,) = pool.client.expire(DEADLINE_NS)
    assert missed.request_id == number
    assert "no answer from inference-0 and inference-1 within 0.2 s" in missed.reason
    process.answer()
    pool.swallowed(DEADLINE_NS + 1)
    assert (pool.client.missed, pool.client.late, pool.client.answered) == (1, 1, 0)
    assert pool.client.due_ns is None


def test_an_answer_after_the_deadline_does_not_count_although_nobody_looked_meanwhile(pool: Pool) -> None:
    pool.ask(0)
    pool.asked().answer()
    pool.swallowed(DEADLINE_NS)
    (missed,) = pool.client.expire(DEADLINE_NS)
    assert isinstance(missed, Missed)


def test_a_refusal_is_tried_elsewhere_at_once(pool: Pool) -> None:
    pool.ask(0)
    first = pool.asked()
    first.refuse("no model yet")
    pool.swallowed(1)
    pool.other(first).answer()
    (outcome,) = pool.outcome(2)
    assert isinstance(outcome, Answered)
    assert (pool.client.refused, pool.client.asked_elsewhere) == (1, 1)


def test_what_all_refuse_is_missed_for_their_reasons(pool: Pool) -> None:
    number = pool.ask(0)
    first = pool.asked()
    first.refuse("no model yet")
    pool.swallowed(1)
    pool.other(first).refuse("expected other features")
    assert pool.outcome(2) == [Missed(number, "no model yet; expected other features")]
    assert pool.client.due_ns is None


def test_a_refusal_waits_for_the_one_that_is_asked_already(pool: Pool) -> None:
    pool.ask(0)
    first = pool.asked()
    pool.client.expire(DEADLINE_NS // 2)
    first.refuse("no model yet")
    pool.swallowed(DEADLINE_NS // 2 + 1)
    pool.other(first).answer()
    assert isinstance(pool.outcome(DEADLINE_NS // 2 + 2)[0], Answered)


def test_one_refusal_and_silence_is_missed_at_the_deadline(pool: Pool) -> None:
    pool.ask(0)
    pool.asked().refuse("no model yet")
    pool.swallowed(1)
    (missed,) = pool.client.expire(DEADLINE_NS)
    assert missed.reason.startswith("no model yet; no answer from inference-")


def test_a_dead_process_is_passed_over_at_once_and_used_again_when_it_is_back(pool: Pool) -> None:
    dead, alive = pool.processes
    dead.die()
    gone = pool.client.sockets[0]
    wait_for(lambda: not gone.getsockopt(zmq.EVENTS) & zmq.POLLOUT, "the death to be noticed")
    for _ in range(4):
        pool.ask(0)
        alive.answer()
        assert isinstance(pool.outcome(1)[0], Answered)
    assert pool.client.asked_elsewhere == 0
    dead.open()
    pool.wait_connected()
    asked = set()
    for _ in range(2):
        pool.ask(2)
        process = pool.asked()
        asked.add(process.endpoint)
        process.answer()
        pool.outcome(3)
    assert len(asked) == 2


def test_with_nobody_there_a_question_is_sent_when_somebody_comes(context: Context, run_dir: Path) -> None:
    pool = Pool(context, run_dir)
    for process, socket in zip(pool.processes, pool.client.sockets, strict=True):
        process.die()
        wait_for(lambda s=socket: not s.getsockopt(zmq.EVENTS) & zmq.POLLOUT, "the death to be noticed")
    number = pool.ask(0)
    pool.processes[1].open()
    wait_for(lambda: pool.client.sockets[1].getsockopt(zmq.EVENTS) & zmq.POLLOUT, "a connection")
    due_ns = pool.client.due_ns
    assert due_ns is not None
    assert due_ns < DEADLINE_NS // 4, "long before another would be asked"
    pool.client.expire(due_ns)
    assert pool.processes[1].answer().request_id == number
    assert isinstance(pool.outcome(due_ns + 1)[0], Answered)
    assert pool.client.asked_elsewhere == 0, "nobody had it before"


def test_with_nobody_there_a_question_is_missed(pool: Pool) -> None:
    for process, socket in zip(pool.processes, pool.client.sockets, strict=True):
        process.die()
        wait_for(lambda s=socket: not s.getsockopt(zmq.EVENTS) & zmq.POLLOUT, "the death to be noticed")
    number = pool.ask(0)
    assert pool.client.expire(DEADLINE_NS) == [Missed(number, "no inference process is connected")]


def test_a_silent_process_is_tried_again_after_a_few_deadlines(pool: Pool) -> None:
    pool.ask(0)
    silent = pool.asked()
    silent.received()
    pool.client.expire(DEADLINE_NS // 2)
    pool.other(silent).answer()
    pool.outcome(DEADLINE_NS // 2)
    now_ns, asked_again = DEADLINE_NS, []
    while not asked_again:
        now_ns += DEADLINE_NS // 4
        assert now_ns < 6 * DEADLINE_NS
        pool.ask(now_ns)
        process = pool.asked()
        if process is silent:
            asked_again.append(now_ns)
        process.answer()
        pool.outcome(now_ns)
    assert asked_again[0] >= 3 * DEADLINE_NS


def test_nothing_grows_while_nobody_answers(pool: Pool) -> None:
    for step in range(1_000):
        now_ns = step * DEADLINE_NS // 10
        pool.client.expire(now_ns)
        pool.ask(now_ns)
    assert len(pool.client._open) <= 11
    assert len(pool.client._again) <= 11
    assert all(len(unanswered) <= 60 for unanswered in pool.client._unanswered)


def test_nonsense_is_refused_and_harms_nothing(pool: Pool) -> None:
    number = pool.ask(0)
    process = pool.asked()
    ((sender, request),) = process.received()
    good = prediction(request)
    process.socket.send_multipart([sender, b"junk"])
    pool.swallowed(1)
    for wrong in ({"symbol": "ETH/USDT"}, {"bar_ms": 0}, {"probability": float("nan")}, {"probability": 1.5}):
        process.reply(sender, msgspec.structs.replace(good, **wrong))
        pool.swallowed(1)
    assert len(pool.complaints) == 5
    process.reply(sender, good)
    assert pool.outcome(2) == [Answered(number, good, 2)]


def test_an_answer_to_the_engine_before_is_not_taken(pool: Pool) -> None:
    process = pool.processes[0]
    number = pool.ask(0)
    ((sender, request),) = pool.asked().received()
    process.reply(sender, msgspec.structs.replace(prediction(request), request_id=number - 1))
    pool.swallowed(1)
    assert pool.client.late == 1
