"""A small client of the HTTP interface over its unix socket: commands need no more, and start faster."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from levibot.errors import GiveUpError, RetryError


class NotRunningError(RetryError):
    """No daemon answers on the socket."""


class ApiError(GiveUpError):
    """The daemon refused; `code` is the HTTP status."""

    def __init__(self, code: int, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}\n{remedy}" if remedy else detail)
        self.code = code


class ApiClient:
    """Asks one daemon; each request has a connection of its own, so a restart of the daemon is harmless.

    Parameters
    ----------
    socket_path
        Unix socket of the daemon.
    timeout
        Seconds that an answer may take.
    """

    def __init__(self, socket_path: Path, timeout: float = 30.0) -> None:
        self._path = socket_path
        self._timeout = timeout

    def get(self, path: str) -> Any:
        """Answer to ``GET path``."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """The same, as it came."""
        return self._request("GET", path)

    def post(self, path: str, **parameters: str) -> Any:
        """Answer to ``POST path?parameters``."""
        query = "?" + urlencode(parameters) if parameters else ""
        return json.loads(self._request("POST", path + query))

    def _request(self, method: str, path: str) -> bytes:
        """Body of a good answer.

        Raises
        ------
        NotRunningError
            If nobody listens.
        ApiError
            If the daemon refused, or does not answer in time.
        """
        try:
            status, body = _exchange(self._path, f"{method} {path}", self._timeout)
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunningError("the daemon is not running; start it with `levibotctl start`") from error
        except TimeoutError as error:
            raise ApiError(504, f"the daemon does not answer within {self._timeout:g} s", _STUCK) from error
        except PermissionError as error:
            raise ApiError(403, f"{self._path}: permission denied", "run this as the daemon's user") from error
        if status >= 400:
            raise _error(status, body)
        return body


_STUCK = "see `levibotctl logs supervisor`"


def _exchange(path: Path, request: str, timeout: float) -> tuple[int, bytes]:
    """Status and body. HTTP/1.0, so that the end of the stream is the end of the answer.

    The standard library's client would do, but loading it takes as long as all the rest of a command.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(f"{request} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        answer = bytearray()
        while part := connection.recv(1 << 16):
            answer += part
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
    if len(body) != int(headers.get(b"content-length", b"-1")):
        raise ConnectionResetError("the answer was cut short")
    return int(lines[0].split()[1]), body


def symbol_path(prefix: str, symbol: str) -> str:
    """Path of a command about one symbol, as the user wrote it."""
    return f"{prefix}/{quote(symbol)}"


def _error(code: int, body: bytes) -> ApiError:
    try:
        problem = json.loads(body)
        return ApiError(code, str(problem["detail"]), str(problem.get("remedy", "")))
    except (ValueError, KeyError, TypeError):
        return ApiError(code, f"the daemon answered {code}: {body[:200]!r}", _STUCK)
