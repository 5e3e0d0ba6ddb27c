"""Pool processes, asked over real sockets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq

from levibot.bus.codec import encode
from levibot.bus.messages import PredictRequest
from levibot.bus.sockets import make_socket
from levibot.clock import boot_ns
from levibot.ml.client import Answered, Missed
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.ml.manifest import MODEL
from levibot.ml.model import load_model
from levibot.ml.store import ModelStore
from tests.deadline import wait_for
from tests.ml.examples import stored_model
from tests.workers.pool_house import GOOD, PoolHouse, ask, outcomes, packed, question

NAME = "lightgbm-simulated"
MakeHouse = Callable[..., PoolHouse]


@pytest.fixture
def make_house(run_dir: Path) -> Iterator[MakeHouse]:
    """Makes pools whose processes are gone when the test ends."""
    with ExitStack() as stack:

        def make(**settings: Any) -> PoolHouse:
            house = PoolHouse(run_dir, **settings)
            stack.callback(house.close)
            return house

        yield make


@pytest.fixture
def house(make_house: MakeHouse) -> PoolHouse:
    """One process of two, with a model."""
    house = make_house()
    stored_model(house.models)
    house.start()
    return house


def version(outcome: Answered | Missed) -> str:
    assert isinstance(outcome, Answered), outcome
    return outcome.prediction.model.removeprefix(f"{NAME}/")


def test_a_question_is_answered_as_the_model_itself_would(house: PoolHouse) -> None:
    outcome = ask(house.client())
    path = ModelStore(house.models).current(NAME)
    assert path is not None
    model = load_model(path, "simulated")
    assert isinstance(outcome, Answered)
    assert outcome.prediction.probability == model.predict(np.array([GOOD.features]))[0]
    assert outcome.prediction.model == model.manifest.reference
    house.until(lambda: house.report().answered == 1, "the report")
    assert house.report().model == model.manifest.reference
    assert house.report().trouble == ""


def test_two_processes_answer_after_the_fork(house: PoolHouse) -> None:
    house.start(1)  # OpenMP would hang here, had the forkserver loaded LightGBM
    client = house.client()
    for _ in range(10):
        assert isinstance(ask(client), Answered)
    house.until(lambda: house.report(0).answered == house.report(1).answered == 5, "half of the answers from each")
    assert client.asked_elsewhere == 0


def test_a_process_has_no_threads_of_numeric_libraries(house: PoolHouse) -> None:
    ask(house.client())
    threads = psutil.Process(house.processes[0].pid).num_threads()
    assert threads <= 4, "main, model watch and the two of ZeroMQ: no pool of OpenMP or OpenBLAS"


def test_without_a_model_it_is_ready_and_says_what_to_do(make_house: MakeHouse) -> None:
    house = make_house(processes=1)
    house.start()
    assert house.report().trouble == f"no model {NAME} yet; run `levibotctl train`"
    outcome = ask(house.client())
    assert isinstance(outcome, Missed)
    assert outcome.reason == house.report().trouble
    house.until(lambda: house.report().refused == 1, "the refusal in the report")
    assert house.beats[0].errors == 0
    path = stored_model(house.models)  # now there is one
    house.until(lambda: house.report().model, "the model to be taken")
    assert version(ask(house.client("engine-2"))) == path.name
    assert (house.report().trouble, house.report().swaps) == ("", 0)


def test_a_refused_question_is_answered_by_another_process(house: PoolHouse, run_dir: Path) -> None:
    path = ModelStore(house.models).current(NAME)
    assert path is not None
    (path.parent / "current").unlink()  # the second finds none, the first has it already
    house.start(1)
    client = house.client()
    for _ in range(4):
        assert version(ask(client)) == path.name
    assert client.refused > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (question(float("nan"), position=2), f"feature {FEATURES[2]} is nan, expected a finite number"),
        (question(float("inf")), f"feature {FEATURES[0]} is inf"),
        (question(0.0, feature_set="bars-0-00000000"), f"this pool knows '{FEATURE_SET}'"),
    ],
)
def test_a_bad_question_is_refused_and_harms_nobody(house: PoolHouse, wrong: Any, words: str) -> None:
    client = house.client(deadline=3.0)  # the second process does not run, so the refusal waits for it
    bad = client.ask("BTC/USDT", 60_000, wrong, boot_ns())
    good = client.ask("BTC/USDT", 60_000, GOOD, boot_ns())
    by_id = {outcome.request_id: outcome for outcome in outcomes(client, 2)}
    missed = by_id[bad]
    assert isinstance(missed, Missed)
    assert words in missed.reason
    assert isinstance(by_id[good], Answered)
    house.until(lambda: house.report().refused == 1, "the refusal in the report")
    assert words in house.records("prediction_refused")[0]["reason"]
    assert house.beats[0].errors == 0


def test_junk_is_counted_and_the_next_question_answered(house: PoolHouse) -> None:
    stranger = make_socket(house.context, zmq.DEALER, connect=house.endpoints[0])
    for junk in (b"", b"junk", b"\xc1" * 1000, encode(PredictRequest(1, "S", 1, "f", b"", 1))[:-2]):
        stranger.send(junk)
    stranger.send_multipart([b"one", b"two"])
    house.until(lambda: house.report().refused_messages == 5, "the junk in the report")
    stranger.close(0)
    assert isinstance(ask(house.client()), Answered)
    assert house.beats[0].errors == 0, "whoever sends junk must not get the process restarted"
    assert len(house.records("message_refused")) <= 2, "once a second"


def test_what_is_too_old_is_dropped(house: PoolHouse) -> None:
    client = house.client(deadline=0.2)
    house.signal(signal.SIGSTOP)
    missed = ask(client)
    house.signal(signal.SIGCONT)
    assert isinstance(missed, Missed)
    assert "no answer from inference-0" in missed.reason
    house.until(lambda: house.report().expired == 1, "the late question in the report")
    assert house.report().answered == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_28_what_one_process_has_in_flight_another_answers(house: PoolHouse, signum: int) -> None:
    house.start(1)
    client = house.client(deadline=4.0)
    house.signal(signal.SIGSTOP, 1)  # so that its questions are in flight for certain
    for number in range(20):
        client.ask(f"S{number}/USDT", 60_000, GOOD, boot_ns())
    house.signal(signum, 1)
    found = outcomes(client, 20)
    assert all(isinstance(outcome, Answered) for outcome in found)
    assert client.asked_elsewhere > 0
    if signum == signal.SIGKILL:
        house.processes[1].join(40)
        house.start(1)
    else:
        house.signal(signal.SIGCONT, 1)

    def back() -> bool:
        ask(client)
        return house.report(1).answered > 0

    wait_for(back, "the second process to be used again")


def test_28_a_process_killed_at_full_load_costs_fewer_than_one_answer_in_a_hundred(house: PoolHouse) -> None:
    house.start(1)
    client = house.client(deadline=6.0)
    asked = 2000
    answers: list[Answered | Missed] = []
    for number in range(asked):
        if number == asked // 2:
            house.signal(signal.SIGKILL, 1)
        client.ask("BTC/USDT", 60_000, GOOD, boot_ns())
        while number + 1 - len(answers) >= 64:  # always as many as one process answers in one go
            answers += outcomes(client, 1)
    answers += outcomes(client, asked - len(answers))
    assert len({outcome.request_id for outcome in answers}) == asked
    assert sum(isinstance(outcome, Missed) for outcome in answers) < asked // 100
    assert all(version(outcome) for outcome in answers if isinstance(outcome, Answered))


def test_28_with_nobody_left_questions_are_missed_until_one_is_back(house: PoolHouse) -> None:
    client = house.client(deadline=0.3)
    ask(client)
    house.kill()
    assert isinstance(ask(client), Missed)
    house.start()
    wait_for(lambda: isinstance(ask(client), Answered), "an answer of the new process")


def test_a_model_is_exchanged_under_load_without_a_failed_question(house: PoolHouse) -> None:
    house.start(1)
    client = house.client()
    store = ModelStore(house.models)
    first = store.current(NAME)
    assert first is not None
    versions = [first.name]
    answers: list[Answered | Missed] = []
    open_questions = 0
    for _ in range(2):
        versions.append(stored_model(house.models).name)
        begun = time.monotonic()
        while not all(beat.report and beat.report.model.endswith(versions[-1]) for beat in house.beats.values()):
            assert time.monotonic() < begun + 60
            for _ in range(8):
                client.ask("BTC/USDT", 60_000, GOOD, boot_ns())
            open_questions += 8
            while open_questions - len(answers) >= 64:  # as many as one process answers in one go
                answers += outcomes(client, 1)
            house.pump()
    answers += outcomes(client, open_questions - len(answers))
    assert len({outcome.request_id for outcome in answers}) == len(answers) == open_questions
    assert {version(outcome) for outcome in answers} <= set(versions)
    assert version(ask(client)) == versions[-1]
    assert [house.report(index).swaps for index in (0, 1)] == [2, 2]
    assert client.missed == client.refused == 0


def test_a_damaged_model_leaves_the_old_one_serving(house: PoolHouse) -> None:
    client = house.client()
    before = version(ask(client))
    store = ModelStore(house.models)
    broken = stored_model(house.models / "aside")
    target = house.models / NAME / broken.name
    if target.exists():  # both were saved within one second
        target = target.with_name(f"{broken.name[:-3]}777")
    text = (broken / MODEL).read_bytes()
    (broken / MODEL).write_bytes(text[: len(text) // 2])
    broken.rename(target)
    store.promote(NAME, target.name)
    house.until(lambda: house.report().trouble, "the trouble in the report")
    assert target.name in house.report().trouble
    assert f"{before} serves on" in house.report().trouble
    assert version(ask(client)) == before
    assert house.report().swaps == 0
    assert len(house.records("model_trouble")) == 1
    assert house.beats[0].errors == 0


def test_a_damaged_model_at_the_start_is_no_failure(make_house: MakeHouse) -> None:
    house = make_house(processes=1)
    path = stored_model(house.models)
    (path / MODEL).write_bytes(b"tree\n")
    house.start()
    assert str(path) in house.report().trouble
    missed = ask(house.client())
    assert isinstance(missed, Missed)
    assert str(path) in missed.reason


def test_batches_of_many_clients_keep_questions_apart(house: PoolHouse) -> None:
    clients = [house.client(f"engine-{number}") for number in range(10)]
    for number, client in enumerate(clients):
        for turn in range(30):
            client.ask(f"S{number}/USDT", 60_000 * turn, question(-0.5 if turn % 2 else 0.5), boot_ns())
    probabilities: dict[bool, set[float]] = {False: set(), True: set()}
    for number, client in enumerate(clients):
        for outcome in outcomes(client, 30):
            assert isinstance(outcome, Answered)
            assert outcome.prediction.symbol == f"S{number}/USDT"
            odd = bool(outcome.prediction.bar_ms // 60_000 % 2)
            probabilities[odd].add(outcome.prediction.probability)
    assert all(len(values) == 1 for values in probabilities.values())
    assert probabilities[True] != probabilities[False]
    house.until(lambda: house.report().answered == 300, "all answers in the report")
    assert house.report().batches < 300, "what waits is answered together"


def test_memory_stays_flat_under_load(house: PoolHouse) -> None:
    clients = [house.client(f"engine-{number}") for number in range(4)]

    def load(rounds: int) -> int:
        for _ in range(rounds):
            for client in clients:
                for _ in range(16):
                    client.ask("BTC/USDT", 60_000, GOOD, boot_ns())
            for client in clients:
                outcomes(client, 16)
        return int(psutil.Process(house.processes[0].pid).memory_full_info().uss)

    before = load(50)
    after = load(200)
    assert after - before < 2_000_000


def test_no_second_process_of_one_number(house: PoolHouse) -> None:
    first = house.processes[0]
    house.start(ready=False)
    house.until(lambda: 0 in house.beats and house.beats[0].waiting_for == "fence", "the second to wait")
    os.kill(first.pid, signal.SIGKILL)
    first.join(40)
    house.until(lambda: house.beats[0].ready, "the second to take over")
    assert isinstance(ask(house.client()), Answered)


def test_a_stop_is_acknowledged(house: PoolHouse) -> None:
    ask(house.client())
    house.stop()


def test_a_stop_is_acknowledged_while_it_waits(house: PoolHouse) -> None:
    first = house.processes[0]
    house.start(ready=False)
    house.until(lambda: 0 in house.beats, "the second to wait")
    house.stop()
    first.kill()
    first.join(40)


def test_requests_at_the_wire_are_little_endian_float64(house: PoolHouse) -> None:
    dealer = make_socket(house.context, zmq.DEALER, connect=house.endpoints[0])
    features = packed(GOOD.features)
    assert len(features) == 8 * len(FEATURES)
    dealer.send(encode(PredictRequest(5, "S/USDT", 60_000, FEATURE_SET, features, boot_ns() + 10**10)))
    assert dealer.poll(60_000)
    dealer.close(0)
