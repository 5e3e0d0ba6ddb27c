"""Two kinds of model behind one question: each has its lane and its deadline, and the core hears of them once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
import zmq

from levibot.bus.sockets import ipc
from levibot.config_ml import InferenceConfig
from levibot.engine import inputs
from levibot.engine.commands import AskModel
from levibot.strategies.base import Question
from tests.deadline import wait_for
from tests.workers.pool_world import PoolProcess
from workers.engine_models import ModelPort

ALONE = Question("set", (1.0, 2.0))
QUESTION = Question("set", (1.0, 2.0), struct.pack("<4d", 3.0, 4.0, 1.0, 2.0))


class Lanes:
    """A port, and one process of each lane."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], folder: Path, *, deadline: float, tft_deadline: float
    ) -> None:
        names = {kind: (ipc(folder / kind),) for kind in ("inference", "tft")}
        self.lightgbm = PoolProcess(context, *names["inference"])
        self.tft = PoolProcess(context, *names["tft"], "tft")
        spec = SimpleNamespace(
            worker="engine-BTC-USDT",
            symbol="BTC/USDT",
            lockstep=False,
            endpoints=SimpleNamespace(**names),
            inference=InferenceConfig(deadline=deadline, tft_deadline=tft_deadline),
        )
        runtime: Any = SimpleNamespace(context=context, spec=spec, log=structlog.get_logger())
        self.complaints: list[str] = []
        self.port = ModelPort(runtime, self.complaints.append)
        self.asked = 0
        wait_for(lambda: all(s.getsockopt(zmq.EVENTS) & zmq.POLLOUT for s in self.port.sockets), "connections")

    def ask(self, question: Question = QUESTION) -> None:
        self.asked += 1
        self.port.ask(AskModel(self.asked, 60_000, question))

    def said(self) -> inputs.ModelsAnswered:
        """What the core is told next."""

        def told() -> inputs.ModelsAnswered | None:
            self.lightgbm.pump()
            self.tft.pump()
            return next(self.port.take(), None)

        found = wait_for(told, "what models said")
        assert next(self.port.take(), None) is None
        return cast(inputs.ModelsAnswered, found)


@pytest.fixture
def lanes(run_dir: Path, request: pytest.FixtureRequest) -> Iterator[Lanes]:
    """With ten seconds for each answer, or as many for one about a sequence as the test says."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield Lanes(context, run_dir, deadline=10.0, tft_deadline=getattr(request, "param", 10.0))
    finally:
        context.destroy(linger=0)


def kinds(said: inputs.ModelsAnswered) -> dict[str, float]:
    return {prediction.kind: prediction.probability for prediction in said.predictions}


def test_the_core_hears_once_of_both(lanes: Lanes) -> None:
    lanes.lightgbm.probability, lanes.tft.probability = 0.6, 0.7
    lanes.ask()
    said = lanes.said()
    assert (said.request_id, kinds(said), said.missing) == (1, {"lightgbm": 0.6, "tft": 0.7}, {})
    (row,), (sequence,) = lanes.lightgbm.requests, lanes.tft.requests
    assert (row.features, row.steps) == (struct.pack("<2d", 1.0, 2.0), 1)
    assert (sequence.features, sequence.steps) == (QUESTION.sequence, 2)
    assert lanes.port.due_ns is None
    assert not lanes.complaints


@pytest.mark.parametrize("lanes", [0.3], indirect=True)
def test_a_slow_model_of_sequences_delays_the_other_no_longer_than_its_own_deadline(lanes: Lanes) -> None:
    lanes.tft.mode = "silent"
    lanes.ask()
    said = lanes.said()
    assert kinds(said) == {"lightgbm": 0.5}
    assert said.missing == {"tft": "no answer from tft-0 within 0.3 s"}
    assert lanes.port.due_ns is None


def test_without_the_first_kind_the_other_is_handed_over_alone(lanes: Lanes) -> None:
    lanes.lightgbm.mode = "refuse"
    lanes.ask()
    said = lanes.said()
    assert (kinds(said), said.missing) == ({"tft": 0.5}, {"lightgbm": "no model test yet"})


def test_a_question_without_a_sequence_goes_to_the_first_kind_alone(lanes: Lanes) -> None:
    lanes.ask(ALONE)
    said = lanes.said()
    assert kinds(said) == {"lightgbm": 0.5}
    assert "was not asked: too few bars" in said.missing["tft"]
    assert lanes.tft.requests == []


def test_questions_that_are_open_at_once_are_kept_apart(lanes: Lanes) -> None:
    lanes.tft.mode = "silent"
    lanes.ask()
    lanes.ask(ALONE)
    assert lanes.said().request_id == 2, "it need not wait for what another waits for"
    wait_for(lambda: lanes.tft.requests or lanes.tft.pump(), "the sequence")
    lanes.tft.answer()
    first = lanes.said()
    assert (first.request_id, set(kinds(first))) == (1, {"lightgbm", "tft"})
