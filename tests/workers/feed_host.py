"""The surroundings of a real feed worker: forwarder, heartbeats, control, and a receiver like an engine's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import multiprocess
import zmq

import workers.entry
from levibot.bus.codec import BAR, MARKET, TICK, Decoder, FrameDecoder, encode, topic
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    Acknowledged,
    Bar,
    FeedReply,
    FeedReport,
    FeedRequest,
    Heartbeat,
    MarketEvent,
    Snapshot,
    SnapshotRefused,
    SnapshotRequest,
    Stop,
    SymbolsChanged,
    Tick,
    WorkerMessage,
)
from levibot.bus.sockets import drain, ipc, make_socket, send
from levibot.config import LoggingConfig
from levibot.config_market import FeedConfig
from levibot.spec import Endpoints, WorkerSpec
from tests.deadline import wait_for

MarketMessage = Tick | Bar | MarketEvent


class Receiver:
    """Subscribes, asks, and keeps everything that comes."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints, name: str) -> None:
        self.received: list[MarketMessage] = []
        self._replies: list[Snapshot | SnapshotRefused] = []
        self._name = name
        self._sub = make_socket(context, zmq.SUB, connect=endpoints.subscribers)
        self._feed = make_socket(context, zmq.DEALER, connect=endpoints.feed, identity=name.encode())
        self._frames = FrameDecoder()
        self._decode: Decoder[FeedReply] = Decoder(FeedReply)
        self._request_id = 0

    def subscribe(self, *symbols: str) -> None:
        """Hear all of `symbols`."""
        for symbol in symbols:
            for prefix in (TICK, BAR, MARKET):
                self._sub.setsockopt(zmq.SUBSCRIBE, topic(prefix, symbol))

    def say(self, message: FeedRequest | bytes) -> None:
        """Send a request, or raw bytes."""
        send(self._feed, message if isinstance(message, bytes) else encode(message))

    def pump(self) -> list[MarketMessage]:
        """Take in what has come; return what is new."""
        new = [self._frames(frames[0]) for frames in drain(self._sub)]
        self.received += new
        self._replies += [self._decode(frames[0]) for frames in drain(self._feed)]
        return new

    def request(self, symbol: str, bars: int = 1500) -> Snapshot | SnapshotRefused:
        """Ask for a snapshot until it is answered."""
        self._request_id += 1
        self.say(SnapshotRequest(self._request_id, symbol, bars))

        def answer() -> Snapshot | SnapshotRefused | None:
            self.pump()
            return next((reply for reply in self._replies if reply.request_id == self._request_id), None)

        return wait_for(answer, f"an answer about {symbol}")

    def snapshot(self, symbol: str, bars: int = 1500) -> Snapshot:
        """Ask for a snapshot that must be given."""
        reply = self.request(symbol, bars)
        assert isinstance(reply, Snapshot), reply
        return reply

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        """Receive until `condition` holds."""

        def pumped() -> object:
            self.pump()
            return condition()

        wait_for(pumped, what, seconds=seconds)

    def of(self, kind: type[Tick] | type[Bar], symbol: str) -> list[MarketMessage]:
        """What came of one kind for one symbol."""
        return [item for item in self.received if isinstance(item, kind) and item.symbol == symbol]


def feed_spec(directory: Path, symbols: tuple[str, ...], feed: FeedConfig, **more: Any) -> WorkerSpec:
    """What a feed worker is told at its start, all its sockets and files below `directory`."""
    names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
    return WorkerSpec(
        kind="feed",
        worker="feed",
        incarnation=1,
        supervisor_epoch=1,
        instance="test",
        endpoints=Endpoints(**{name: ipc(directory / name) for name in names}),
        state_dir=directory / "state",
        log_dir=directory / "logs",
        heartbeat_interval=0.05,
        logging=LoggingConfig(),
        symbols=symbols,
        lockstep=feed.lockstep,
        feed=feed,
        **more,
    )


class FeedHost:
    """Stands in for the supervisor around one feed worker."""

    def __init__(self, directory: Path, symbols: tuple[str, ...], feed: FeedConfig) -> None:
        self.spec = feed_spec(directory, symbols, feed)
        endpoints = self.spec.endpoints
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarder = Forwarder(endpoints.publishers, endpoints.subscribers)
        self._heartbeat = make_socket(self.context, zmq.PULL, bind=endpoints.heartbeat)
        self._control = make_socket(self.context, zmq.ROUTER, bind=endpoints.control)
        self._beats: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._answers: Decoder[WorkerMessage] = Decoder(WorkerMessage)
        self._processes: list[multiprocess.Process] = []
        self._command_id = 0

    def __enter__(self) -> FeedHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self.pids:
            self.kill(pid)
        self._forwarder.close()
        self.context.destroy(linger=0)

    def start(self, *, ready: bool = True) -> None:
        """Start the worker as the supervisor does."""
        for _ in drain(self._heartbeat):
            pass
        forkserver = multiprocess.get_context("forkserver")
        process = forkserver.Process(target=workers.entry.run, args=(self.spec.model_dump_json(),))
        process.start()
        self._processes.append(process)
        if ready:
            self.wait_beat(lambda beat: beat.ready, "a ready feed")

    def receiver(self, name: str = "engine") -> Receiver:
        """A new receiver."""
        return Receiver(self.context, self.spec.endpoints, name)

    def wait_beat(self, condition: Callable[[Heartbeat], bool], what: str) -> Heartbeat:
        """First heartbeat that fulfils `condition`."""

        def found() -> Heartbeat | None:
            beats = (self._beats(frames[0]) for frames in drain(self._heartbeat))
            return next((beat for beat in beats if condition(beat)), None)

        return wait_for(found, what)

    def report(self, condition: Callable[[FeedReport], bool], what: str) -> FeedReport:
        """First report that fulfils `condition`."""
        beat = self.wait_beat(lambda beat: isinstance(beat.report, FeedReport) and condition(beat.report), what)
        assert isinstance(beat.report, FeedReport)
        return beat.report

    def want(self, *symbols: str) -> None:
        """Change the symbols, and wait until that is acknowledged."""
        self._command_id += 1
        self._command(SymbolsChanged(self._command_id, list(symbols)))

    def stop(self) -> None:
        """Stop the worker by command; it must acknowledge and end well."""
        self._command_id += 1
        self._command(Stop(self._command_id, "test"))
        (process,) = self._processes
        process.join(40)
        assert process.exitcode == 0
        self._processes.clear()

    @property
    def pids(self) -> list[int]:
        """The worker processes, oldest first."""
        return [process.pid for process in self._processes]

    def kill(self, pid: int | None = None) -> None:
        """Kill -9 the worker, or the one with this pid."""
        process = next(process for process in self._processes if pid in (None, process.pid))
        process.kill()
        process.join(40)
        self._processes.remove(process)

    def _command(self, command: Stop | SymbolsChanged) -> None:
        self._control.send_multipart([b"feed", encode(command)])

        def acknowledged() -> bool:
            messages = (self._answers(frames[-1]) for frames in drain(self._control))
            return any(
                isinstance(message, Acknowledged) and message.command_id == command.command_id
                for message in messages
            )

        wait_for(acknowledged, f"the acknowledgement of {command}")
