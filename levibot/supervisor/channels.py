"""The supervisor's sockets towards its workers: heartbeats in, commands out."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import Acknowledged, Command, Crashed, Heartbeat, Hello, WorkerMessage
from levibot.bus.sockets import AsyncReader, make_socket, send
from levibot.errors import MalformedMessageError

T = TypeVar("T")
Malformed = Callable[[str, MalformedMessageError], None]


class _Channel(ABC, Generic[T]):
    """A socket of the supervisor; what does not decode is told, counted, and changes nothing.

    Parameters
    ----------
    loop
        Of the supervisor.
    socket
        Bound; closed with the channel.
    name
        Of the channel, for `malformed`.
    decode
        Its messages.
    malformed
        Called with the channel's name and the error for each message that does not decode.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        name: str,
        decode: Decoder[T],
        malformed: Malformed,
    ) -> None:
        self.received = 0  # messages
        self._name = name
        self._decode = decode
        self._malformed = malformed
        self._socket = socket
        self._reader = AsyncReader(loop, socket, self._receive)

    def close(self) -> None:
        """Stop reading and free the endpoint."""
        self._reader.close()
        self._socket.close(0)

    @abstractmethod
    def _take(self, message: T) -> None:
        """Deal with a message."""

    def _receive(self, frames: list[bytes]) -> None:
        self.received += 1
        try:
            message = self._decode(frames[-1])
        except MalformedMessageError as error:
            self._malformed(self._name, error)
            return
        self._take(message)


class HeartbeatChannel(_Channel[Heartbeat]):
    """PULL socket on which every worker's heartbeats arrive.

    Parameters
    ----------
    loop, context
        Of the supervisor.
    endpoint
        To bind.
    handle
        Called with each heartbeat.
    malformed
        Called with the channel's name and the error for each message that does not decode.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        handle: Callable[[Heartbeat], None],
        malformed: Malformed,
    ) -> None:
        socket = make_socket(context, zmq.PULL, bind=endpoint)
        super().__init__(loop, socket, "heartbeat", Decoder(Heartbeat), malformed)
        self._handle = handle

    def _take(self, message: Heartbeat) -> None:
        self._handle(message)


class ControlChannel(_Channel[WorkerMessage]):
    """ROUTER socket over which workers are commanded; each command is acknowledged.

    Parameters
    ----------
    loop, context, endpoint, malformed
        As of `HeartbeatChannel`.
    on_life
        Called with the first message of each worker process, and with the last of one that crashes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        on_life: Callable[[Hello | Crashed], None],
        malformed: Malformed,
    ) -> None:
        socket = make_socket(context, zmq.ROUTER, bind=endpoint)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        super().__init__(loop, socket, "control", Decoder(WorkerMessage), malformed)
        self._loop = loop
        self._on_life = on_life
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[Acknowledged]]] = {}

    def command(self, worker: str, make: Callable[[int], Command]) -> asyncio.Future[Acknowledged]:
        """Send a command.

        Parameters
        ----------
        worker
            Name of the worker.
        make
            Makes the command from its number.

        Returns
        -------
        asyncio.Future
            Done when the worker has acknowledged; cancelled if it is not connected, or dies before.
        """
        number = next(self._ids)
        future: asyncio.Future[Acknowledged] = self._loop.create_future()
        if self._socket.closed:  # the daemon ends
            future.cancel()
            return future
        try:
            sent = send(self._socket, worker.encode(), encode(make(number)))
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            sent = False
        if sent:
            self._waiting[number] = worker, future
            future.add_done_callback(lambda _: self._waiting.pop(number, None))
        else:
            future.cancel()
        self._reader.poke()
        return future

    def forget(self, worker: str) -> None:
        """The process is gone: what it has not acknowledged it never will."""
        for name, future in list(self._waiting.values()):
            if name == worker:
                future.cancel()

    def _take(self, message: WorkerMessage) -> None:
        if isinstance(message, Hello | Crashed):
            self._on_life(message)
        elif (waiting := self._waiting.get(message.command_id)) is not None and not waiting[1].done():
            waiting[1].set_result(message)
