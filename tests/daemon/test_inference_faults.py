"""The inference pool of a real daemon, and the fault table's row about it: engines must not notice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from levibot.bus.sockets import ipc
from levibot.clock import boot_ns
from levibot.ml.client import Answered, InferenceClient, Missed
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest, alive
from tests.ml.examples import stored_model
from tests.programs import LEVIBOTCTL
from tests.workers.pool_house import GOOD, ask, outcomes

pytestmark = pytest.mark.unmeasured

POOL = ("inference-0", "inference-1")
REMEDY = "no model lightgbm-simulated yet; run `levibotctl train`"


@pytest.fixture
def pool(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """A daemon with two pool processes, not started."""
    settings: dict[str, Any] = {
        "inference.processes": 2,
        "engine.strategy": "ensemble",
        "policy.inference.heartbeat_interval": 0.1,
        "policy.inference.restart_delays": [0.0, 0.05],
    }
    return make_daemon(**settings)


@contextmanager
def connected(daemon: DaemonUnderTest, deadline: float = 2.0) -> Iterator[InferenceClient]:
    """What an engine holds of the pool."""
    daemon.wait(lambda: all(daemon.worker(name)["ready"] for name in POOL), "the pool to be ready", seconds=60)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoints = [ipc(daemon.data / "run" / f"{name}.sock") for name in POOL]
    client = InferenceClient(context, endpoints, name="engine-test", deadline=deadline, refuse=pytest.fail)
    try:
        daemon.wait(
            lambda: all(s.getsockopt(zmq.EVENTS) & zmq.POLLOUT for s in client.sockets), "both to be connected"
        )
        yield client
    finally:
        context.destroy(linger=0)


def start(daemon: DaemonUnderTest) -> dict[str, int]:
    """Start it with a model, wait until its engines are answered; their pids."""
    stored_model(daemon.data / "models")
    daemon.start()
    answered_again(daemon)
    return engines(daemon)


def answered_again(daemon: DaemonUnderTest) -> None:
    """Wait until every engine has one more answer than now."""
    before = {entry["symbol"]: entry["predictions"] or 0 for entry in daemon.status()["engines"]}

    def more() -> bool:
        return all(entry["predictions"] > before[entry["symbol"]] for entry in daemon.status()["engines"])

    daemon.wait(more, "an answer for every engine", seconds=60)


def engines(daemon: DaemonUnderTest) -> dict[str, int]:
    """Pids of the engines, each ready and never restarted."""
    entries = daemon.status()["engines"]
    assert all(entry["ready"] and not entry["restarts"] for entry in entries)
    return {entry["worker"]: entry["pid"] for entry in entries}


def traffic(client: InferenceClient, until: Callable[[], Any], disturb: Callable[[], None]) -> list[Any]:
    """Questions all the while, and a disturbance after the first; what became of them."""
    found: list[Answered | Missed] = []
    asked = 0
    disturbed = False
    while not until():
        for number in range(10):
            client.ask(f"S{number}/USDT", 60_000, GOOD, boot_ns())
        asked += 10
        if not disturbed:
            disturb()
            disturbed = True
        found += client.drain(boot_ns())
        found += client.expire(boot_ns())
    return found + outcomes(client, asked - len(found)) if asked > len(found) else found


@pytest.mark.long
def test_engines_are_ready_without_a_model_and_the_status_says_what_to_do(pool: DaemonUnderTest) -> None:
    pool.write_config(engine__strategy="levibot.strategies.ensemble:Ensemble")  # the built-in gets a first model
    pool.start()
    pool.wait(lambda: pool.status()["daemon"]["model_trouble"] == REMEDY, "the remedy in the status")
    assert pool.status()["daemon"]["model"] == ""
    with connected(pool) as client:
        missed = ask(client)
        assert isinstance(missed, Missed)
        assert missed.reason == REMEDY
    assert pool.worker("inference-0")["trouble"] == REMEDY
    assert pool.worker("inference-0")["error_count"] == 0
    said = subprocess.run(
        [LEVIBOTCTL, "-c", pool.config, "status"], capture_output=True, text=True, check=True
    ).stdout
    assert REMEDY in said
    assert "inference-1 running" in said
    path = stored_model(pool.data / "models")
    name = f"lightgbm-simulated/{path.name}"
    pool.wait(lambda: pool.status()["daemon"]["model"] == name, "the model in the status")
    pool.wait(lambda: pool.status()["daemon"]["model_trouble"] == "", "the trouble to be over")
    assert pool.worker("inference-0")["model"] == name
    answered_again(pool)
    assert pool.engine()["model"] == name
    said = subprocess.run(
        [LEVIBOTCTL, "-c", pool.config, "status"], capture_output=True, text=True, check=True
    ).stdout
    assert f"model {name}" in said
    assert all(entry["preloaded"] for entry in pool.status()["workers"])
    engines(pool)
    assert pool.stop() == 0


@pytest.mark.long
def test_the_status_asks_for_no_model_that_no_engine_asks(pool: DaemonUnderTest) -> None:
    pool.write_config(engine__strategy="sma_cross", inference__processes=1)
    pool.start()
    pool.wait(lambda: pool.worker("inference-0")["trouble"] == REMEDY, "the pool to find no model")
    assert pool.status()["daemon"]["model_trouble"] == ""


def test_a_pool_that_is_not_there_is_named_in_the_status(pool: DaemonUnderTest) -> None:
    pool.write_config(inference__processes=0)
    pool.start()
    assert pool.status()["daemon"]["model_trouble"] == "no inference pool: inference.processes is 0"


def test_28_killed_with_questions_in_flight(pool: DaemonUnderTest) -> None:
    pids = start(pool)
    with connected(pool, deadline=4.0) as client:
        assert isinstance(ask(client), Answered)
        first = pool.worker("inference-1")["pid"]

        def back() -> bool:
            entry = pool.worker("inference-1")
            return entry["ready"] and entry["pid"] != first

        found = traffic(client, back, lambda: os.kill(first, signal.SIGKILL))
        assert found
        assert all(isinstance(outcome, Answered) for outcome in found)
        before = pool.worker("inference-1")["answered"]
        pool.wait(
            lambda: ask(client) and pool.worker("inference-1")["answered"] > before, "the new one to be used"
        )
    assert pool.worker("inference-1")["restart_causes"] == {"crash": 1}
    answered_again(pool)
    assert engines(pool) == pids


@pytest.mark.long
def test_28_stopped_with_questions_in_flight(pool: DaemonUnderTest) -> None:
    pool.write_config(policy__inference__hang_after=5.0)
    pids = start(pool)
    with connected(pool) as client:
        assert isinstance(ask(client), Answered)
        first = pool.worker("inference-0")["pid"]

        def back() -> bool:
            entry = pool.worker("inference-0")
            return entry["ready"] and entry["pid"] != first

        found = traffic(client, back, lambda: os.kill(first, signal.SIGSTOP))
        assert all(isinstance(outcome, Answered) for outcome in found)
        assert client.asked_elsewhere > 0
    assert pool.worker("inference-0")["restart_causes"] == {"hang": 1}
    assert not alive(first)
    answered_again(pool)
    assert engines(pool) == pids


@pytest.mark.long
def test_28_both_stopped_then_killed(pool: DaemonUnderTest) -> None:
    pids = start(pool)
    with connected(pool, deadline=0.3) as client:
        first = [pool.worker(name)["pid"] for name in POOL]
        for pid in first:
            os.kill(pid, signal.SIGSTOP)
        assert isinstance(ask(client), Missed)
        in_flight = {client.ask(f"S{number}/USDT", 60_000, GOOD, boot_ns()) for number in range(5)}
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert {outcome.request_id for outcome in outcomes(client, 5)} == in_flight
        pool.wait(lambda: isinstance(ask(client), Answered), "an answer of a new process", seconds=60)
    answered_again(pool)
    assert engines(pool) == pids
