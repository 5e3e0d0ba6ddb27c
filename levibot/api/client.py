"""A small client of the HTTP interface over its unix socket."""

from __future__ import annotations

import contextlib
import http.client
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
    reason
        Why changes are asked for; kept in the audit.
    """

    def __init__(self, socket_path: Path, timeout: float = 30.0, reason: str = "") -> None:
        self._path = socket_path
        self._timeout = timeout
        self._reason = reason

    def get(self, path: str) -> Any:
        """Answer to ``GET path``."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """The same, as it came."""
        return self._request("GET", path)

    def post(self, path: str, **parameters: str) -> Any:
        """Answer to ``POST path?parameters``."""
        if self._reason:
            parameters = {"reason": self._reason, **parameters}
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
            status, body = _exchange(self._path, method, path, self._timeout)
        except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
            raise NotRunningError("the daemon is not running; start it with `levibotctl start`") from error
        except TimeoutError as error:
            raise ApiError(504, f"the daemon does not answer within {self._timeout:g} s", _STUCK) from error
        except PermissionError as error:
            raise ApiError(403, f"{self._path}: permission denied", "run this as the daemon's user") from error
        if status >= 400:
            raise _error(status, body)
        return body


_STUCK = "see `levibotctl logs supervisor`"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _exchange(path: Path, method: str, target: str, timeout: float) -> tuple[int, bytes]:
    """Status and body of one answer."""
    with contextlib.closing(_UnixConnection(path, timeout)) as connection:
        connection.request(method, target)
        response = connection.getresponse()
        try:
            return response.status, response.read()
        except http.client.IncompleteRead as error:
            raise ConnectionResetError("the answer was cut short") from error


def symbol_path(prefix: str, symbol: str) -> str:
    """Path of a command about one symbol, as the user wrote it."""
    return f"{prefix}/{quote(symbol)}"


def _error(code: int, body: bytes) -> ApiError:
    try:
        problem = json.loads(body)
        return ApiError(code, str(problem["detail"]), str(problem.get("remedy", "")))
    except (ValueError, KeyError, TypeError):
        return ApiError(code, f"the daemon answered {code}: {body[:200]!r}", _STUCK)
