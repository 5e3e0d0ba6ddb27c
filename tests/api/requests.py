"""Requests over TCP, well-formed and raw."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Of one request."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(
    port: int,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: Any = None,
    host: str = "127.0.0.1",
    **headers: str,
) -> Answer:
    """One request on a connection of its own; an underscore in the name of a header is a dash."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body=body, headers=sent, encode_chunked="Transfer-Encoding" in sent)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A raw connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        yield raw


def raw_answer(raw: socket.socket) -> Answer:
    """The next answer on a raw connection, which then stays open."""
    response = http.client.HTTPResponse(raw)
    response.begin()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def is_ended(raw: socket.socket) -> bool:
    """Whether the other side has closed a connection, or does within the socket's timeout."""
    try:
        while raw.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True
