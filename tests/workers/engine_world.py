"""All that an engine process talks to, on real sockets and under a test's control."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import multiprocess
import psutil
import zmq

import workers.entry
from levibot.bus.codec import BAR, MARKET, TICK, Decoder, encode, topic
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    Acknowledged,
    Command,
    EngineReport,
    Heartbeat,
    Stop,
    WorkerMessage,
)
from levibot.bus.sockets import drain, ipc, make_socket
from levibot.config import EngineConfig, LoggingConfig
from levibot.spec import Endpoints, WorkerSpec
from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from tests.engine.scene import SYMBOL
from tests.workers.engine_neighbours import NAME, Broker, Feed, Risk
from tests.workers.engine_strategies import STRATEGY


class World:
    """An engine process and everything around it.

    Parameters
    ----------
    directory
        For state, logs and sockets; a short path.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        (directory / "user_strategy_of_test.py").write_text(STRATEGY)
        names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
        self.endpoints = Endpoints(**{name: ipc(directory / name) for name in names})
        self._leash = Leash(directory / "leash")
        self.spec = WorkerSpec(
            kind="engine",
            worker=NAME,
            incarnation=1,
            supervisor_epoch=1,
            instance="abcd",
            endpoints=self.endpoints,
            state_dir=directory / "state",
            log_dir=directory / "logs",
            heartbeat_interval=0.05,
            logging=LoggingConfig(level="debug"),
            symbols=(SYMBOL,),
            engine=EngineConfig.model_validate(
                {"strategy": "user_strategy_of_test:ByPrice", "cycle_interval": 0.05, **settings}
            ),
            config_dir=directory,
            leash=self._leash.path,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarder = Forwarder(self.endpoints.publishers, self.endpoints.subscribers)
        self.feed = Feed(self._context, self.endpoints)
        self.risk = Risk(self._context, self.endpoints)
        self.broker = Broker(self._context, self.endpoints)
        self._heartbeat = make_socket(self._context, zmq.PULL, bind=self.endpoints.heartbeat)
        self._control = make_socket(self._context, zmq.ROUTER, bind=self.endpoints.control)
        self._decode_beat: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._decode_answer: Decoder[Any] = Decoder(WorkerMessage)
        self.beat: Heartbeat | None = None
        self.acknowledged: list[int] = []
        self._command_id = 0
        self.process: Any = None

    def start(self, **changes: Any) -> None:
        """Start the engine process as the supervisor does."""
        self.beat = None
        self.spec = self.spec.model_copy(update={"incarnation": self.spec.incarnation + 1, **changes})
        context = multiprocess.get_context("forkserver")
        self.process = context.Process(target=workers.entry.run, args=(self.spec.model_dump_json(),))
        self.process.start()

    def start_ready(self, *more: bytes, **changes: Any) -> None:
        """Start it, and wait until it is ready and hears its own symbol and what is published of `more` topics."""
        self.start(**changes)
        self.until(lambda: self.beat is not None and self.beat.ready, "a ready engine")
        topics = {*(topic(prefix, SYMBOL) for prefix in (TICK, BAR, MARKET)), *more}
        self.until(lambda: self.feed.wanted >= topics, "its subscriptions")

    def kill(self) -> None:
        self._end()
        self.until(lambda: not self.feed.wanted, "the end of its subscriptions")

    def _end(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(40)

    def stop(self) -> None:
        """Stop it in the polite way."""
        number = self.command(Stop)
        self.until(lambda: number in self.acknowledged, "the acknowledged stop")
        self.until(lambda: not self.process.is_alive(), "the end of the process")
        assert self.process.exitcode == 0

    def command(self, kind: Any) -> int:
        self._command_id += 1
        fields = (self._command_id, "test") if kind is Stop else (self._command_id,)
        message: Command = kind(*fields)
        self._control.send_multipart([NAME.encode(), encode(message)])
        return self._command_id

    def pump(self) -> None:
        """Let everybody read and answer."""
        self.feed.pump()
        self.risk.pump()
        self.broker.pump()
        for frames in drain(self._heartbeat):
            beat = self._decode_beat(frames[-1])
            if beat.incarnation == self.spec.incarnation:
                self.beat = beat
        for frames in drain(self._control):
            answer = self._decode_answer(frames[-1])
            if isinstance(answer, Acknowledged):
                self.acknowledged.append(answer.command_id)

    def until(self, condition: Any, what: str, *, seconds: float = 60.0) -> None:
        """Pump until `condition` holds."""

        def turn() -> bool:
            self.pump()
            return bool(condition())

        wait_for(turn, what, seconds=seconds, every=0.002)

    def decided(self) -> None:
        """Wait until the engine has dealt with every bar published so far."""
        newest = self.feed.bars[-1].open_ms
        self.until(lambda: self.beat and self.report.bar_ms == newest, "the newest bar in the report")

    @property
    def report(self) -> EngineReport:
        assert self.beat is not None
        assert isinstance(self.beat.report, EngineReport)
        return self.beat.report

    def records(self, event: str) -> list[dict[str, Any]]:
        """Log lines about `event`."""
        lines = [json.loads(line) for path in self.spec.log_dir.glob("*.jsonl") for line in path.open()]
        return [line for line in lines if line["event"] == event]

    def close(self) -> None:
        if self.process is not None and psutil.pid_exists(self.process.pid):
            self._end()
        self._leash.close()
        self._forwarder.close()
        self._context.destroy(linger=0)


MakeWorld = Callable[..., World]


def sent(world: World) -> list[str]:
    """Client ids of the orders that the broker was sent."""
    return [intent.client_id for intent in world.broker.received]


def position_is(world: World, quantity: str) -> Callable[[], bool]:
    """Whether the engine reports this position."""
    return lambda: world.beat is not None and world.report.position == Decimal(quantity)


def open_position(world: World) -> None:
    """Have it buy the one coin that risk grants."""
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(position_is(world, "1"), "the open position")
