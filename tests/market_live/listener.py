"""A thread that hears all that a feed publishes and reports, and notes when it came."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec
import zmq

from levibot.bus.codec import BAR, BOOK, MARKET, TICK, TRADES, Decoder, FlowDecoder, FrameDecoder, encode, topic
from levibot.bus.messages import (
    Bar,
    Book,
    Command,
    FeedReply,
    FeedReport,
    Heartbeat,
    MarketEvent,
    Snapshot,
    SnapshotRefused,
    SnapshotRequest,
    Tick,
    Trades,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.spec import Endpoints
from tests.deadline import wait_for

Heard = Tick | Bar | MarketEvent | Trades | Book
M = TypeVar("M", Tick, Bar, Trades, Book)
_POLL_MS = 20


class Note(NamedTuple):
    """A message, and when it came: CLOCK_BOOTTIME."""

    at_ns: int
    message: Heard


class Listener:
    """Stands where the supervisor and an engine stand around a feed.

    Parameters
    ----------
    context
        Of this process.
    endpoints
        Those of the feed; heartbeat and control are bound here.
    symbols
        What is subscribed to, all five topics of each.
    keeps_levels
        Whether books are kept with their levels: those of many symbols fill the memory in minutes.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        symbols: tuple[str, ...],
        *,
        keeps_levels: bool = True,
    ) -> None:
        self.notes: list[Note] = []
        self.reports: list[tuple[int, Heartbeat, FeedReport]] = []
        self._context, self._endpoints, self._symbols = context, endpoints, symbols
        self._keeps_levels = keeps_levels
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._requests: queue.SimpleQueue[SnapshotRequest] = queue.SimpleQueue()
        self._replies: dict[int, Snapshot | SnapshotRefused] = {}
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed listener", daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def close(self) -> None:
        self._ending.set()
        self._thread.join(40)

    # ------------------------------------------------------------------ from other threads

    def command(self, command: Command) -> None:
        """Send a command to the feed."""
        self._commands.put(command)

    def snapshot(self, symbol: str, bars: int = 1500) -> Snapshot:
        """What an engine that starts now is given."""
        number = len(self._replies) + 1
        self._requests.put(SnapshotRequest(number, symbol, bars))
        reply = wait_for(lambda: self._replies.get(number), f"a snapshot of {symbol}")
        assert isinstance(reply, Snapshot), reply
        return reply

    def since(self, at_ns: int) -> list[Note]:
        """What has come since then, oldest first."""
        notes, found = self.notes, []
        for position in range(len(notes) - 1, -1, -1):
            if notes[position].at_ns < at_ns:
                break
            found.append(notes[position])
        return found[::-1]

    def of(self, kind: type[M], symbol: str) -> list[M]:
        """Messages of one kind for one symbol, in order."""
        return [m for _, m in list(self.notes) if isinstance(m, kind) and m.symbol == symbol]

    def events(self, symbol: str) -> list[MarketEvent]:
        """Market events of one symbol, in order."""
        kinds = (Tick, Bar, Trades, Book)
        return [m for _, m in list(self.notes) if not isinstance(m, kinds) and m.symbol == symbol]

    def report(
        self, condition: Callable[[FeedReport], object], what: str, seconds: float = 10.0, since_ns: int = 0
    ) -> tuple[int, FeedReport]:
        """First report since then that fulfils `condition`, and when it came."""

        def found() -> tuple[int, FeedReport] | None:
            for at_ns, _, report in list(self.reports):
                if at_ns >= since_ns and condition(report):
                    return at_ns, report
            return None

        result = wait_for(found, what, seconds=seconds)
        assert result is not None
        return result

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        places = self._endpoints
        subscriber = make_socket(self._context, zmq.SUB, connect=places.subscribers)
        for symbol in self._symbols:
            for prefix in (TICK, BAR, MARKET, TRADES, BOOK):
                subscriber.setsockopt(zmq.SUBSCRIBE, topic(prefix, symbol))
        beats = make_socket(self._context, zmq.PULL, bind=places.heartbeat)
        control = make_socket(self._context, zmq.ROUTER, bind=places.control)
        desk = make_socket(self._context, zmq.DEALER, connect=places.feed, identity=b"listener")
        self._ready.set()
        poller = zmq.Poller()
        for socket in (subscriber, beats, control, desk):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._ending.is_set():
                poller.poll(_POLL_MS)
                self._hear(subscriber)
                self._take_beats(beats)
                self._exchange_words(control, desk)
        finally:
            for socket in (subscriber, beats, control, desk):
                socket.close(0)

    def _hear(self, subscriber: zmq.Socket[bytes]) -> None:
        market, flow = _MARKET, _FLOW
        for (frame,) in drain(subscriber):
            decode = flow if frame.startswith((TRADES, BOOK)) else market
            message = decode(frame)
            if isinstance(message, Book) and not self._keeps_levels:
                message = msgspec.structs.replace(message, bids=[], asks=[])
            self.notes.append(Note(boot_ns(), message))

    def _take_beats(self, beats: zmq.Socket[bytes]) -> None:
        for frames in drain(beats):
            beat = _BEAT(frames[0])
            if isinstance(beat.report, FeedReport):
                self.reports.append((boot_ns(), beat, beat.report))

    def _exchange_words(self, control: zmq.Socket[bytes], desk: zmq.Socket[bytes]) -> None:
        for _ in drain(control):
            pass  # greetings and acknowledgements
        while not self._commands.empty():
            control.send_multipart([b"feed", encode(self._commands.get())])
        while not self._requests.empty():
            send(desk, encode(self._requests.get()))
        for frames in drain(desk):
            reply = _REPLY(frames[0])
            self._replies[reply.request_id] = reply


_MARKET, _FLOW = FrameDecoder(), FlowDecoder()
_BEAT: Decoder[Heartbeat] = Decoder(Heartbeat)
_REPLY: Decoder[FeedReply] = Decoder(FeedReply)
