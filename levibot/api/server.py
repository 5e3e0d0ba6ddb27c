"""Serves the HTTP interface on a private unix socket and, for reading, on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from levibot.errors import StopError

Application = Any  # an ASGI application; asgiref's own types are not installed everywhere
_LOOPBACK = "127.0.0.1"
_READING = ("GET", "HEAD")
_STARTUP_POLL = 0.002


class ApiServer:
    """uvicorn on the running loop, without its hands on the process's signals and logs."""

    def __init__(self) -> None:
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._socket_path: Path | None = None
        self._inode = 0

    async def start(self, app: Application, socket_path: Path, tcp_port: int) -> None:
        """Listen; returns when requests are answered.

        Parameters
        ----------
        app
            The application, served in full on the unix socket.
        socket_path
            Unix socket, mode 0600. A file that lies there is replaced, so hold the daemon's lock.
        tcp_port
            Port on 127.0.0.1 where the same may be read but not changed; 0: none.

        Raises
        ------
        StopError
            If the port is taken, or the socket cannot be made.
        """
        listeners = [(_bind_unix(socket_path), app)]
        self._socket_path, self._inode = socket_path, socket_path.stat().st_ino
        if tcp_port:
            try:
                listeners.append((_bind_loopback(tcp_port), ReadingOnly(app, socket_path)))
            except StopError:
                listeners[0][0].close()
                self._remove_socket()
                raise
        for listener, application in listeners:
            server = _Server(application)
            self._servers.append(server)
            self._tasks.append(asyncio.create_task(server.serve(sockets=[listener])))
        while not all(server.started for server in self._servers):
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(_STARTUP_POLL)

    async def close(self) -> None:
        """Stop listening, give open requests a second, then cut them off."""
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks)
        for server in self._servers:
            server.cut_connections()
        self._servers.clear()
        self._tasks.clear()
        self._remove_socket()

    def _remove_socket(self) -> None:
        path = self._socket_path
        with contextlib.suppress(FileNotFoundError):
            if path is not None and path.stat().st_ino == self._inode:  # else a successor's
                path.unlink()


class ReadingOnly:
    """Lets requests through that read, come from this machine's own pages and tools, and no others.

    Parameters
    ----------
    app
        The application behind it.
    socket_path
        Named in the refusal, as the place where changes are taken.
    """

    def __init__(self, app: Application, socket_path: Path) -> None:
        self._app = app
        self._socket_path = socket_path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")
        name = host[0] if host[1] and host[2].isdigit() else "".join(host)
        if name not in ("localhost", _LOOPBACK):
            # A page of another site can have its own name point here; its requests carry that name.
            await _refuse(send, 421, f"host {name!r} is not served here", "use http://127.0.0.1:PORT")
        elif scope["method"] not in _READING:
            remedy = f"use levibotctl, or the unix socket {self._socket_path}"
            await _refuse(send, 403, "this port is for reading only", remedy)
        else:
            await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    def __init__(self, app: Application) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                backlog=64,  # asyncio tries so many accepts, and so many errors, when no descriptor is left
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the supervisor."""
        yield

    def cut_connections(self) -> None:
        """End connections that outlived the grace period."""
        for connection in list(self.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()


def _bind_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # nobody can have connected: it does not listen yet
    except OSError as error:
        listener.close()
        raise StopError(f"{path}: cannot be made: {error}; correct supervisor.run_dir") from error
    return listener


def _bind_loopback(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
        # Two sockets may be bound to one port with SO_REUSEADDR until one listens.
        listener.listen()
    except OSError as error:
        listener.close()
        raise StopError(
            f"port {port} of {_LOOPBACK} cannot be had: {error.strerror}; set another api.port, or 0 for none"
        ) from error
    return listener


async def _refuse(send: Any, code: int, detail: str, remedy: str) -> None:
    body = orjson.dumps({"detail": detail, "remedy": remedy})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
