"""One connection of a client, and all of one port: bounded in size, in number and in time.

uvicorn bounds none of this by itself: a client may stay silent, send a head without end, or never read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from levibot.api.caller import PEER, peer_of
from levibot.api.problems import Problem
from levibot.api.traffic import NO_ROUTE, DropReason, Traffic
from levibot.clock import boot_seconds

REQUEST_SECONDS = 10.0  # that a whole request may take, and a new connection until its first
STUCK_SECONDS = 10.0  # that a client may leave an answer unread
LINGER_SECONDS = 2.0  # that a connection we ended may take to go
KEEP_ALIVE_SECONDS = 15
MOST_HEAD = 32 * 1024  # bytes of request line and headers before the connection is cut
MOST_DISCARDED = 1024 * 1024  # bytes of a refused body that are read, so that the client sees the refusal
_WAITING_ROOM = 16  # connections above the limit that are told so
_BUSY = Problem(503, "too many connections are open", "try again", (("retry-after", "1"), ("connection", "close")))


class Connections(ServerState):
    """All connections of one port.

    Parameters
    ----------
    most
        Number of connections. When it is reached, the one that has been idle for longest makes room; if
        none is idle, the newcomer's request is answered with 503, or cut off if there are many of them.
    traffic
        Where they are counted.
    """

    def __init__(self, most: int, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic
        self._most = most

    def make_room(self, newcomer: Connection) -> bool:
        """Whether there is room for one more, if need be after the idlest has gone."""
        if len(self.connections) <= self._most:
            return True
        there = [connection for connection in self._all() if not connection.transport.is_closing()]
        if len(there) <= self._most:
            return True
        idle = [connection for connection in there if connection.idle and connection is not newcomer]
        if not idle:
            if len(there) > self._most + _WAITING_ROOM:
                newcomer.transport.abort()
            return False
        min(idle, key=lambda connection: connection.idle_since).drop("idle")
        return True

    def sweep(self) -> None:
        """End what takes too long; call it about once a second."""
        now = boot_seconds()
        for connection in self._all():
            connection.check(now)

    def cut(self) -> None:
        """End connections that outlived the grace period."""
        for connection in self._all():
            connection.transport.abort()

    def _all(self) -> list[Connection]:
        return [connection for connection in self.connections if isinstance(connection, Connection)]


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with bounds; made by uvicorn, which gives it the `Connections` it belongs to."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; turned away if the port is full."""
        super().connection_made(transport)
        now = boot_seconds()
        self._peer = peer_of(transport.get_extra_info("socket"))
        self.idle_since = now
        self._reading_since: float | None = now
        self._stuck_since: float | None = None
        self._closing_since: float | None = None
        self._in_head = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._ended_one = False
        self._traffic = self.server_state.traffic
        self._traffic.connections += 1
        if not self.server_state.make_room(self):
            self._traffic.dropped["full"] += 1
            self.app = _turn_away

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._traffic.connections -= 1
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no answer is due."""
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    def drop(self, reason: DropReason) -> None:
        """Cut it off."""
        self._traffic.dropped[reason] += 1
        self.transport.abort()

    def check(self, now: float) -> None:
        """End it if its client takes too long to send, to read, or to go."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > LINGER_SECONDS:
                self.transport.abort()
        elif self._stuck_since is not None and now - self._stuck_since > STUCK_SECONDS:
            self.drop("slow_reader")
        elif self._reading_since is not None and now - self._reading_since > REQUEST_SECONDS:
            self._traffic.dropped["slow_request"] += 1
            self._refuse(Problem(408, f"the request did not come within {REQUEST_SECONDS:g} s", "send it again"))

    # ------------------------------------------------------------------ what the transport says

    def data_received(self, data: bytes) -> None:
        """Parse; a head without end is refused."""
        self._ended_one = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and not self._ended_one:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD:
                self._refuse(Problem(431, f"the request's head is over {MOST_HEAD} bytes", "send fewer headers"))
        if self._reading_since is None and self.idle:
            self._reading_since = boot_seconds()  # empty lines begin no request, and are no way to stay

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stuck_since = boot_seconds()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._stuck_since = None

    # ------------------------------------------------------------------ what the parser says

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._peer is not None:
            self.scope[PEER] = self._peer  # type: ignore[literal-required]
        self._in_head = True
        self._head_bytes = self._body_bytes = 0
        self._reading_since = boot_seconds()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body came."""
        super().on_body(body)
        self._body_bytes += len(body)
        if self._body_bytes > MOST_DISCARDED and self.idle:
            self.drop("slow_request")

    def on_message_complete(self) -> None:
        """It is whole."""
        self._ended_one = True
        self._reading_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered."""
        self.idle_since = boot_seconds()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(Problem(400, "this is no valid HTTP request", "see GET /openapi.json for what is served"))

    def _refuse(self, problem: Problem) -> None:
        """Answer outside the application, and close."""
        if self.idle or not self.cycle.response_started:
            self._traffic.requests[NO_ROUTE, problem.code] += 1
            self.transport.write(_raw(problem))
        self.transport.close()


async def _turn_away(_scope: Any, _receive: Any, send: Any) -> None:
    await _BUSY.send(send)


def _raw(problem: Problem) -> bytes:
    body = problem.body
    headers: dict[str, Any] = {
        "content-type": "application/json",
        "content-length": len(body),
        "connection": "close",
        **dict(problem.headers),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.code} \r\n{head}\r\n".encode() + body
