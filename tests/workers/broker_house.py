"""A real broker process with all that surrounds it: forwarder, feed, engines, supervisor; each in this test."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import multiprocess
import zmq

from levibot.bus.codec import TICK, Decoder, encode, frame
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    Acknowledge,
    Acknowledged,
    BrokerReply,
    BrokerReport,
    FeedRequest,
    Heartbeat,
    Hello,
    Intent,
    JoinLockstep,
    Message,
    OrderEvent,
    OrderEvents,
    Reconciled,
    ReconcileRequest,
    Snapshot,
    SnapshotRefused,
    SnapshotRequest,
    Stop,
    SubmitOrder,
    WorkerMessage,
)
from levibot.bus.sockets import drain, ipc, make_socket, send
from levibot.config import LoggingConfig
from levibot.config_execution import PaperConfig
from levibot.spec import Endpoints, WorkerSpec
from tests.deadline import wait_for
from tests.execution.examples import EPOCH, KEY, SYMBOL, D, market, tick
from workers.entry import run

_NAMES = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")


class Client:
    """A DEALER to the broker, as an engine or the supervisor has one."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: str) -> None:
        self.socket = make_socket(context, zmq.DEALER, connect=endpoint, identity=name.encode())
        self.events: list[OrderEvent] = []
        self.replies: list[Any] = []
        self._decode: Decoder[BrokerReply] = Decoder(BrokerReply)
        self._numbers = itertools.count(1)

    def send(self, message: Message) -> None:
        """Send one message."""
        assert send(self.socket, encode(message))

    def submit(self, intent: Intent) -> None:
        """Send an order."""
        self.send(SubmitOrder(intent))

    def read(self) -> None:
        """Sort what has come."""
        for frames in drain(self.socket):
            reply = self._decode(frames[-1])
            if isinstance(reply, OrderEvents):
                self.events += reply.events
            self.replies.append(reply)

    def of(self, client_id: str) -> list[OrderEvent]:
        """Events of one order so far."""
        self.read()
        return [event for event in self.events if event.client_id == client_id]

    def await_end(self, client_id: str, kind: type[Any]) -> Any:
        """Wait for an order's event of this kind."""
        return wait_for(
            lambda: next((event for event in self.of(client_id) if isinstance(event, kind)), None),
            f"{kind.__name__} of {client_id}",
        )

    def reconcile(self, since: int = 0, open_ids: list[str] | None = None, symbol: str = SYMBOL) -> Reconciled:
        """Ask until the broker is ready, as an engine does."""

        def ask() -> Reconciled | None:
            number = next(self._numbers)
            self.send(ReconcileRequest(number, symbol, since, open_ids or []))
            answer = self._answer(number)
            return answer if isinstance(answer, Reconciled) else None

        return wait_for(ask, "a reconciliation")

    def account(self) -> AccountSnapshot:
        """The whole account."""

        def ask() -> AccountSnapshot | None:
            number = next(self._numbers)
            self.send(AccountRequest(number, None))
            answer = self._answer(number)
            return answer if isinstance(answer, AccountSnapshot) else None

        return wait_for(ask, "an account snapshot")

    def _answer(self, number: int) -> Any:
        seen = len(self.replies)
        while self.socket.poll(300):
            self.read()
            for reply in self.replies[seen:]:
                if getattr(reply, "request_id", None) == number:
                    return reply
        return None


class House:
    """Everything around the broker."""

    def __init__(self, folder: Path, *, symbols: tuple[str, ...] = (SYMBOL,), **spec: Any) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        ends = Endpoints(**{name: ipc(folder / name) for name in _NAMES})
        fields: dict[str, Any] = {
            "kind": "broker",
            "worker": "broker",
            "incarnation": 1,
            "supervisor_epoch": EPOCH,
            "instance": "test",
            "endpoints": ends,
            "state_dir": folder / "state",
            "log_dir": folder / "logs",
            "heartbeat_interval": 0.05,
            "logging": LoggingConfig(),
            "symbols": symbols,
            "paper": PaperConfig(cash=D(10_000), slippage=0.0, spread=0.0, latency=0.0),
            "grant_key": KEY.hex(),
        }
        self.spec = WorkerSpec(**{**fields, **spec})
        self._forwarder = Forwarder(ends.publishers, ends.subscribers)
        self._publisher = make_socket(self._context, zmq.PUB, connect=ends.publishers)
        self._feed = make_socket(self._context, zmq.ROUTER, bind=ends.feed)
        self._heartbeat = make_socket(self._context, zmq.PULL, bind=ends.heartbeat)
        self._control = make_socket(self._context, zmq.ROUTER, bind=ends.control)
        self._requests: Decoder[FeedRequest] = Decoder(FeedRequest)
        self._beats: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._answers: Decoder[Hello | Acknowledged] = Decoder(WorkerMessage)
        self._clients: list[Client] = []
        self._seq = itertools.count(1)
        self.markets = {symbol: market(symbol) for symbol in symbols}
        self.stale: dict[str, str] = {}
        self.price = 100.0
        self.acknowledged: list[Acknowledge] = []
        self.joined: list[JoinLockstep] = []
        self.beat: Heartbeat | None = None
        self.process: Any = None

    # ------------------------------------------------------------------ the process

    def start(self) -> None:
        """Start the broker as the supervisor does."""
        context = multiprocess.get_context("forkserver")
        self.beat = None
        self.process = context.Process(target=run, args=(self.spec.model_dump_json(),))
        self.process.start()

    def start_trading(self) -> None:
        """Start the broker, and serve until it trades."""
        self.start()
        self.until_trading()

    def kill(self) -> None:
        """End it without a warning."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(40)
        assert not self.process.is_alive()

    def stop(self) -> None:
        """Ask it to stop, and wait for its end."""
        send(self._control, b"broker", encode(Stop(1, "test")))
        self.process.join(40)
        assert self.process.exitcode == 0

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.is_alive():
            self.kill()
        for client in self._clients:
            client.socket.close(0)
        for socket in (self._publisher, self._feed, self._heartbeat, self._control):
            socket.close(0)
        self._context.term()
        self._forwarder.close()

    # ------------------------------------------------------------------ what surrounds it

    def client(self, name: str = "engine-BTC-USDT") -> Client:
        """A new client."""
        client = Client(self._context, self.spec.endpoints.broker, name)
        self._clients.append(client)
        return client

    def serve(self) -> None:
        """One turn of feed and supervisor: answer snapshot requests, read heartbeats."""
        for frames in drain(self._feed):
            request = self._requests(frames[-1])
            if isinstance(request, SnapshotRequest):
                self._answer(frames[0], request)
            elif isinstance(request, Acknowledge):
                self.acknowledged.append(request)
            elif isinstance(request, JoinLockstep):
                self.joined.append(request)
        for frames in drain(self._heartbeat):
            beat = self._beats(frames[-1])
            if beat.pid == self.process.pid:  # not the last words of one that was killed
                self.beat = beat

    def publish(self, price: float, *, symbol: str = SYMBOL, **changed: Any) -> int:
        """A new price; its sequence number."""
        seq = next(self._seq)
        self.price = price
        self._publisher.send(frame(TICK, symbol, tick(price, symbol=symbol, seq=seq, **changed)))
        return seq

    def raw_frame(self, data: bytes) -> None:
        """Anything, as the feed would publish it."""
        self._publisher.send(data)

    def until(self, condition: Any, what: str) -> Any:
        """Serve until `condition` holds."""

        def turn() -> Any:
            self.serve()
            return condition()

        return wait_for(turn, what)

    def until_beat(self, condition: Any, what: str) -> Heartbeat:
        """Serve until a heartbeat fulfils `condition`."""
        self.until(lambda: self.beat is not None and condition(self.beat), what)
        assert self.beat is not None
        return self.beat

    def until_trading(self) -> None:
        """Serve until the broker knows its markets and a price."""
        self.until_beat(lambda beat: beat.ready and not beat.waiting_for, "a ready broker")

        def priced() -> bool:
            self.publish(self.price)
            return self.beat is not None and self.beat.market_ns is not None

        self.until(priced, "a price in the broker")

    def report(self) -> BrokerReport:
        """The newest report."""
        self.serve()
        assert self.beat is not None
        assert isinstance(self.beat.report, BrokerReport)
        return self.beat.report

    def command(self, message: Any) -> Acknowledged:
        """Send a command, and wait until it is acknowledged."""
        send(self._control, b"broker", encode(message))

        def answer() -> Acknowledged | None:
            for frames in drain(self._control):
                reply = self._answers(frames[-1])
                if isinstance(reply, Acknowledged) and reply.command_id == message.command_id:
                    return reply
            return None

        return self.until(answer, "an acknowledgement")  # type: ignore[no-any-return]

    def _answer(self, identity: bytes, request: SnapshotRequest) -> None:
        rules = self.markets.get(request.symbol)
        reply: Snapshot | SnapshotRefused
        if rules is None:
            reply = SnapshotRefused(request.request_id, request.symbol, "no such market")
        else:
            stale = self.stale.get(request.symbol, "")
            reply = Snapshot(request.request_id, request.symbol, 1, 0, rules, [], [], stale=stale)
        send(self._feed, identity, encode(reply))
