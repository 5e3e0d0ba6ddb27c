"""ZeroMQ sockets as this project uses them: bounded, lingering for nothing, drained until empty."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

# A full queue drops the newest at the sender. Receivers drain all the time, so the mark only bounds
# what a stopped process can cost until its heartbeat gives it away.
DEFAULT_HIGH_WATER_MARK = 100_000
_DRAIN_LIMIT = 1_000
_BATCH = 32  # frames; bounds how long the first waits for the others


def make_socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    *,
    bind: str | None = None,
    connect: str | None = None,
    identity: bytes | None = None,
    high_water_mark: int = DEFAULT_HIGH_WATER_MARK,
) -> zmq.Socket[bytes]:
    """Open a socket, bound or connected.

    Parameters
    ----------
    context
        The process's own context; never one from before a fork.
    kind
        ``zmq.PUB``, ``zmq.DEALER``…
    bind, connect
        Endpoint, one of the two. A stale ``ipc://`` file is replaced, so hold a lock before binding.
    identity
        Routing identity of a DEALER. A new incarnation takes over from a dead one at once.
    high_water_mark
        Messages queued for each peer.
    """
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water_mark)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    socket.setsockopt(zmq.RECONNECT_IVL, 5)  # ms: a peer that was killed is back in a few
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
    if kind == zmq.ROUTER:
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    if identity is not None:
        socket.setsockopt(zmq.IDENTITY, identity)
    if bind is not None:
        socket.bind(bind)
        _make_private(bind)
    if connect is not None:
        socket.connect(connect)
    return socket


def drain(socket: zmq.Socket[bytes], limit: int = _DRAIN_LIMIT) -> Iterator[list[bytes]]:
    """Messages that wait on `socket`, at most `limit`, without blocking; each a list of frames."""
    for _ in range(limit):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def send(socket: zmq.Socket[bytes], *frames: bytes) -> bool:
    """Send without blocking; False if the peer's queue is full or, from a ROUTER, there is no such peer."""
    *heads, body = frames
    try:
        for head in heads:  # half the time of `send_multipart`; only the first part can be refused
            socket.send(head, zmq.SNDMORE | zmq.NOBLOCK)
        socket.send(body, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


class AsyncReader:
    """Calls back for each message of a socket from an asyncio loop.

    The file descriptor of a ZeroMQ socket is edge-triggered and stays silent while messages wait, so a
    drain goes on until the socket is empty; it is bounded, and continued in the next turn of the loop.

    Parameters
    ----------
    loop
        The loop that reads.
    socket
        Any readable socket.
    handle
        Called with the frames of one message.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        handle: Callable[[list[bytes]], None],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._handle = handle
        self._fd = int(socket.getsockopt(zmq.FD))
        self._closed = False
        loop.add_reader(self._fd, self._read)
        self.poke()  # what came before the reader was there raises no edge

    def poke(self) -> None:
        """Have what waits read soon. Call it after each send on the same socket: that can swallow the edge."""
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._closed:
            return
        try:
            for frames in drain(self._socket):
                self._handle(frames)
                if self._closed:
                    return
        finally:  # also after `handle` raised: what still waits raises no edge
            if not self._closed and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                self.poke()

    def close(self) -> None:
        """Stop reading; the socket stays open."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)


class BatchSender:
    """Sends the frames of one turn of an asyncio loop together, in order.

    A frame that leaves wakes those who subscribed to it, and on few cores they take the processor from the one
    who has others to publish: bars of many symbols that close at the same moment are late then, each wakes a
    receiver once more, and all of it costs more.

    Parameters
    ----------
    loop
        The loop that publishes.
    socket
        That frames are sent on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: zmq.Socket[bytes]) -> None:
        self._loop = loop
        self._socket = socket
        self._frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        """Send a frame at the end of this turn, or sooner if there are many."""
        if not self._frames:
            self._loop.call_soon(self.flush)
        self._frames.append(frame)
        if len(self._frames) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        frames, self._frames = self._frames, []
        for frame in frames:
            send(self._socket, frame)


def ipc(path: Path) -> str:
    """Endpoint of a unix socket."""
    return f"ipc://{path}"


def _make_private(endpoint: str) -> None:
    if endpoint.startswith("ipc://"):
        os.chmod(endpoint.removeprefix("ipc://"), 0o600)
