"""Real pool processes with all that surrounds them: supervisor's sockets, model store, engines' clients."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import multiprocess
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import Acknowledged, Heartbeat, InferenceReport, ModelKind, Stop, WorkerMessage
from levibot.bus.sockets import drain, ipc, make_socket
from levibot.clock import boot_ns
from levibot.config import LoggingConfig
from levibot.config_ml import InferenceConfig
from levibot.ml.client import LANES, Answered, InferenceClient, Missed
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.spec import Endpoints, WorkerSpec, inference_name, tft_name
from levibot.strategies.base import Question
from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from workers.entry import run

_NAMES = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
GOOD = Question(FEATURE_SET, (0.25,) * len(FEATURES))


class PoolHouse:
    """Processes of one lane, by their number.

    Parameters
    ----------
    folder
        For models, state, logs and sockets; a short path.
    processes
        How many have an endpoint; each is started by `start`.
    kind
        Of the models that the lane serves.
    """

    def __init__(self, folder: Path, processes: int = 2, kind: ModelKind = "lightgbm", **config: Any) -> None:
        self.folder = folder
        self.models = folder / "models"
        self.kind = kind
        self._name = inference_name if kind == "lightgbm" else tft_name
        endpoints = Endpoints(
            **{name: ipc(folder / name) for name in _NAMES},
            **{LANES[kind]: tuple(ipc(folder / f"{self._name(n)}.sock") for n in range(processes))},
        )
        self._leash = Leash(folder / "leash")
        self._spec = WorkerSpec(
            kind="inference" if kind == "lightgbm" else "tft",
            worker="",
            incarnation=0,
            supervisor_epoch=1,
            instance="abcd",
            endpoints=endpoints,
            state_dir=folder / "state",
            log_dir=folder / "logs",
            heartbeat_interval=0.05,
            logging=LoggingConfig(level="debug"),
            symbols=("BTC/USDT",),
            leash=self._leash.path,
            inference=InferenceConfig(processes=processes, **config),
            models_dir=self.models,
            model_name=f"{kind}-simulated",
            exchange_id="simulated",
        )
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heartbeat = make_socket(self.context, zmq.PULL, bind=endpoints.heartbeat)
        self._control = make_socket(self.context, zmq.ROUTER, bind=endpoints.control)
        self._decode_beat: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._decode_answer: Decoder[Any] = Decoder(WorkerMessage)
        self._incarnation = 0
        self.processes: dict[int, Any] = {}
        self._incarnations: dict[str, int] = {}
        self.beats: dict[int, Heartbeat] = {}
        self.acknowledged: list[int] = []
        self.complaints: list[str] = []
        self._clients: list[InferenceClient] = []

    @property
    def endpoints(self) -> Sequence[str]:
        return self._spec.endpoints.inference or self._spec.endpoints.tft

    def start(self, index: int = 0, *, ready: bool = True) -> None:
        """Start a process as the supervisor does."""
        self._incarnation += 1
        name = self._name(index)
        self.beats.pop(index, None)
        self._incarnations[name] = self._incarnation
        spec = self._spec.model_copy(update={"worker": name, "incarnation": self._incarnation})
        context = multiprocess.get_context("forkserver")
        self.processes[index] = context.Process(target=run, args=(spec.model_dump_json(),))
        self.processes[index].start()
        if ready:
            self.until(lambda: index in self.beats and self.beats[index].ready, f"{name} to be ready")

    def signal(self, signum: int, index: int = 0) -> None:
        os.kill(self.processes[index].pid, signum)

    def kill(self, index: int = 0) -> None:
        self.signal(signal.SIGKILL, index)
        self.processes[index].join(40)

    def stop(self, index: int = 0) -> None:
        """Stop a process in the polite way."""
        self._control.send_multipart([self._name(index).encode(), encode(Stop(7, "test"))])
        self.until(lambda: 7 in self.acknowledged, "the acknowledged stop")
        self.until(lambda: not self.processes[index].is_alive(), "the end of the process")
        assert self.processes[index].exitcode == 0

    def report(self, index: int = 0) -> InferenceReport:
        """The newest report."""
        self.pump()
        report = self.beats[index].report
        assert isinstance(report, InferenceReport)
        return report

    def pump(self) -> None:
        """Read what processes tell their supervisor."""
        for frames in drain(self._heartbeat):
            beat = self._decode_beat(frames[-1])
            if beat.incarnation == self._incarnations[beat.worker]:
                self.beats[int(beat.worker[-1])] = beat
        for frames in drain(self._control):
            answer = self._decode_answer(frames[-1])
            if isinstance(answer, Acknowledged):
                self.acknowledged.append(answer.command_id)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Pump until `condition` holds."""

        def turn() -> bool:
            self.pump()
            return bool(condition())

        wait_for(turn, what, seconds=60)

    def client(self, name: str = "engine-BTC-USDT", deadline: float = 20.0) -> InferenceClient:
        """An engine's client, connected to every process that runs."""
        client = InferenceClient(
            self.context,
            self.endpoints,
            kind=self.kind,
            name=name,
            deadline=deadline,
            refuse=self.complaints.append,
        )
        self._clients.append(client)
        running = [client.sockets[index] for index, process in self.processes.items() if process.is_alive()]
        wait_for(lambda: all(s.getsockopt(zmq.EVENTS) & zmq.POLLOUT for s in running), "a connection")
        return client

    def records(self, event: str) -> list[dict[str, Any]]:
        """Log lines about `event`, of all processes."""
        lines = [json.loads(line) for path in self._spec.log_dir.glob("*.jsonl") for line in path.open()]
        return [line for line in lines if line["event"] == event]

    def close(self) -> None:
        for process in self.processes.values():
            if process.is_alive():
                process.kill()
                process.join(40)
        for client in self._clients:
            client.close()
        self._leash.close()
        self.context.destroy(linger=0)


def ask(client: InferenceClient, question: Question = GOOD, symbol: str = "BTC/USDT") -> Answered | Missed:
    """Ask one question and wait for what becomes of it."""
    number = client.ask(symbol, 60_000, question, boot_ns())
    (outcome,) = outcomes(client, 1)
    assert outcome.request_id == number
    return outcome


def outcomes(client: InferenceClient, count: int) -> list[Answered | Missed]:
    """What becomes of `count` open questions, as an engine's loop would learn it."""
    found: list[Answered | Missed] = []
    poller = zmq.Poller()
    for socket in client.sockets:
        poller.register(socket, zmq.POLLIN)
    while len(found) < count:
        due_ns = client.due_ns
        assert due_ns is not None, f"{len(found)} of {count} questions have an outcome, and none is open"
        poller.poll(max(0, (due_ns - boot_ns()) // 1_000_000 + 1))
        found += client.drain(boot_ns())
        found += client.expire(boot_ns())
    return found


def question(value: float, *, position: int = 0, feature_set: str = FEATURE_SET) -> Question:
    """A question whose feature at `position` is `value`."""
    features = [0.25] * len(FEATURES)
    features[position] = value
    return Question(feature_set, tuple(features))


def packed(values: Sequence[float]) -> bytes:
    """Features as they travel."""
    return struct.pack(f"<{len(values)}d", *values)
