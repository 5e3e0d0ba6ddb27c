"""WebSocket connections: what each has subscribed to, and frames on their way through the faults."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiohttp import WSCloseCode, web

from tests.exchange.accounts import Account
from tests.exchange.faults import FaultKind, Faults
from tests.exchange.log import Log
from tests.exchange.model import BookChange, Kind, MarketEvent, Quote

Encoded = str | bytes
Encode = Callable[[str, MarketEvent], Encoded | None]
FRAME_FAULTS: tuple[FaultKind, ...] = (
    "delay",
    "silent",
    "drop_frame",
    "duplicate",
    "reorder",
    "malformed",
    "close",
    "drop",
    "crossed_book",
)
BACKLOG = 20_000


class Connection:
    """One WebSocket."""

    def __init__(self, number: int, socket: web.WebSocketResponse, request: web.Request, log: Log) -> None:
        self.number = number
        self.socket = socket
        self.path = request.path
        self.request = request
        self.opened_ns = time.monotonic_ns()
        self.streams: dict[str, tuple[Kind, str]] = {}
        self.account: Account | None = None
        self.held: dict[str, Encoded] = {}
        self.commands: list[float] = []
        self.pongs = 0
        self.busy_s = time.monotonic()
        """When something was last sent or received."""
        self._log = log
        self._queue: asyncio.Queue[Encoded | None] = asyncio.Queue(BACKLOG)
        self._writer = asyncio.create_task(self._write())

    @property
    def backlog(self) -> int:
        return self._queue.qsize()

    def send(self, frame: Encoded, stream: str = "") -> None:
        """Queue a frame; a client too slow for the backlog is cut off."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()
            return
        self.busy_s = time.monotonic()
        self._log.event(self.number, "out", stream)

    async def _write(self) -> None:
        while (frame := await self._queue.get()) is not None:
            try:
                if isinstance(frame, bytes):
                    await self.socket.send_bytes(frame)
                else:
                    await self.socket.send_str(frame)
            except ConnectionError:
                return

    async def close(self, code: int = WSCloseCode.GOING_AWAY) -> None:
        """Close properly, with a close frame."""
        await self.socket.close(code=code)

    def abort(self) -> None:
        """Tear the TCP connection down."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def ended(self) -> None:
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer


class Hub:
    """All connections, and who gets what."""

    def __init__(self, encode: Encode, faults: Faults, log: Log) -> None:
        self.connections: dict[int, Connection] = {}
        self.subscribed = asyncio.Event()
        self._encode = encode
        self._faults = faults
        self._log = log
        self._numbers = itertools.count(1)
        self._streams: dict[tuple[Kind, str], dict[str, set[Connection]]] = defaultdict(dict)
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, socket: web.WebSocketResponse, request: web.Request) -> Connection:
        connection = Connection(next(self._numbers), socket, request, self._log)
        self.connections[connection.number] = connection
        self._log.event(connection.number, "open", request.path)
        return connection

    async def remove(self, connection: Connection) -> None:
        for stream in list(connection.streams):
            self.unsubscribe(connection, stream)
        del self.connections[connection.number]
        self._log.event(connection.number, "close", connection.path)
        await connection.ended()

    def subscribe(self, connection: Connection, stream: str, channel: tuple[Kind, str]) -> None:
        connection.streams[stream] = channel
        self._streams[channel].setdefault(stream, set()).add(connection)
        self._log.event(connection.number, "subscribe", stream)
        self.subscribed.set()

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        channel = connection.streams.pop(stream, None)
        if channel is None:
            return
        listeners = self._streams[channel].get(stream, set())
        listeners.discard(connection)
        if not listeners:
            self._streams[channel].pop(stream, None)
        self._log.event(connection.number, "unsubscribe", stream)

    def publish(self, kind: Kind, symbol: str, event: MarketEvent) -> None:
        """Send a market event to all who subscribed to it; each stream encodes it once."""
        for stream, listeners in self._streams[kind, symbol].items():
            frame = self._encode(stream, event)
            if frame is None:
                continue
            for connection in list(listeners):
                self._deliver(connection, stream, symbol, frame, event)

    def send_private(self, account: Account, stream: str, symbol: str | None, frame: Encoded) -> None:
        """Send an account's event to its user streams."""
        for connection in list(self.connections.values()):
            if connection.account is account:
                self._deliver(connection, stream, symbol, frame, None)

    def send_subscribed(
        self, account: Account, channel: tuple[Kind, str], stream: str, symbol: str | None, frame: Encoded
    ) -> None:
        """The same where user streams have subscriptions of their own."""
        for connection in list(self._streams[channel].get(stream, ())):
            if connection.account is account:
                self._deliver(connection, stream, symbol, frame, None)

    def _deliver(
        self, connection: Connection, stream: str, symbol: str | None, frame: Encoded, event: MarketEvent | None
    ) -> None:
        fault = self._faults.strike(FRAME_FAULTS, f"STREAM {stream}", symbol, connection.opened_ns)
        if fault is None:
            connection.send(frame, stream)
            self._release(connection, stream)
            return
        self._log.event(connection.number, "fault", stream, fault.kind)
        if fault.kind == "delay":
            asyncio.get_running_loop().call_later(fault.delay_ms / 1000, connection.send, frame, stream)
        elif fault.kind == "duplicate":
            connection.send(frame, stream)
            connection.send(frame, stream)
        elif fault.kind == "reorder":
            self._release(connection, stream)
            connection.held[stream] = frame
        elif fault.kind == "malformed":
            broken = b"\xff\xfe{" + frame if isinstance(frame, bytes) else '{"stream": ' + frame[:20]
            connection.send(broken, stream)
        elif fault.kind == "close":
            self.start(connection.close())
        elif fault.kind == "drop":
            connection.abort()
        elif fault.kind == "crossed_book":
            crossed = self._encode(stream, cross(event)) if event is not None else None
            connection.send(crossed if crossed is not None else frame, stream)

    @staticmethod
    def _release(connection: Connection, stream: str) -> None:
        held = connection.held.pop(stream, None)
        if held is not None:
            connection.send(held, stream)

    def beat(self, frame: Encoded | None) -> None:
        """Send a heartbeat to every connection that has subscriptions."""
        for connection in self.connections.values():
            if frame is not None and connection.streams:
                connection.send(frame, "heartbeat")

    def is_heard(self, stream: str) -> bool:
        """Whether anybody has subscribed to it."""
        return any(stream in connection.streams for connection in self.connections.values())

    def start(self, coroutine: Any) -> None:
        """Run something beside the event at hand."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, at_most: int = 500) -> None:
        """Wait until no connection has a longer backlog."""
        while any(connection.backlog > at_most for connection in self.connections.values()):
            await asyncio.sleep(0.001)


def cross(event: MarketEvent) -> MarketEvent:
    """The same event with a bid above every ask."""
    if isinstance(event, Quote):
        return replace(event, bid=(event.ask[0] * Decimal("1.01"), event.bid[1]))
    if isinstance(event, BookChange):
        prices = [price for price, _ in (*event.asks, *event.bids)]
        return replace(event, bids=((max(prices) * Decimal("1.5"), Decimal(1)), *event.bids))
    return event
