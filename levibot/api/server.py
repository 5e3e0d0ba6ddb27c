"""Serves the HTTP interface on a private unix socket, and beside it on a TCP port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from levibot.alerting.alerts import Alerts
from levibot.api.app import create_app
from levibot.api.connection import KEEP_ALIVE_SECONDS, Connection, Connections
from levibot.api.gate import Application, Door, Gate
from levibot.api.operations import Document, Operations
from levibot.api.rendering import SharedStatus
from levibot.api.shortcut import StatusShortcut
from levibot.api.stream import StatusStreams
from levibot.api.tcp import Listener, PortError, listen
from levibot.api.tokens import open_tokens
from levibot.api.traffic import Traffic
from levibot.config import ApiConfig
from levibot.errors import StopError

MOST_CONNECTIONS = 128  # of each of the two ways in, so that neither can shut the other
_AGAIN_SECONDS = 5.0  # between two attempts to have the port
_PORT_ALERT, _TOKEN_ALERT = "api_port", "api_token"
_STARTUP_POLL = 0.002
_SWEEP_TICKS = 10  # of uvicorn's ticks, ten a second


class ApiServer:
    """uvicorn on the running loop, without its hands on the process's signals and logs.

    The unix socket is needed: without it nobody could command the daemon. The TCP port is not: while it
    cannot be had, an alert stands and it is tried again.

    Parameters
    ----------
    operations
        The supervisor.
    config
        Address, port and demands of the TCP port.
    data_dir
        Folder of the tokens.
    alerts
        Where trouble with port and tokens is told.
    """

    def __init__(self, operations: Operations, config: ApiConfig, data_dir: Path, alerts: Alerts) -> None:
        self.traffic = Traffic()
        self._config = config
        self._data_dir = data_dir
        self._alerts = alerts
        self._status = SharedStatus(operations)
        self._streams = StatusStreams(operations, self._status, self.traffic)
        self._operations = operations
        self._app: Application = None
        self._unix: _Server | None = None
        self._tcp: _Server | None = None
        self._tcp_attempts: asyncio.Task[None] | None = None
        self._address: str | None = None
        self._socket_path: Path | None = None
        self._inode = 0

    async def start(self, socket_path: Path) -> None:
        """Listen; returns when requests are answered.

        Parameters
        ----------
        socket_path
            Unix socket, mode 0600. A file that lies there is replaced, so hold the daemon's lock.

        Raises
        ------
        StopError
            If the socket cannot be made.
        """
        listener = _bind_unix(socket_path)
        self._socket_path, self._inode = socket_path, socket_path.stat().st_ino
        app = create_app(self._operations, self._status, self._streams)
        self._app = StatusShortcut(app, self._status)
        self._unix = _Server(Gate(self._app, self.traffic, None, self._operations.record), self.traffic)
        if self._config.port and not await self._open_port():
            self._tcp_attempts = asyncio.create_task(self._open_port_later())
        await self._unix.begin(listener)  # last: whoever finds the daemon here may count on the port

    async def close(self) -> None:
        """Stop listening, end the streams, give open requests a second, then cut them off."""
        if self._tcp_attempts is not None:
            self._tcp_attempts.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tcp_attempts
        await self._streams.close()
        await asyncio.gather(*(server.end() for server in (self._unix, self._tcp) if server is not None))
        self._unix = self._tcp = self._address = None
        self._remove_socket()

    def describe(self) -> Document:
        """Where it is reached, and what it does, for the status document."""
        return {"address": self._address, **self.traffic.describe()}

    # ------------------------------------------------------------------ the TCP port

    async def _open_port(self) -> bool:
        """Whether the port is served; if not, an alert says why."""
        try:
            listener = await listen(self._config.host, self._config.port)
        except PortError as error:
            self._alerts.raise_alert(_PORT_ALERT, "warning", str(error), error.remedy)
            return False
        self._alerts.clear(_PORT_ALERT)
        try:
            door = self._make_door(listener)
        except StopError as error:
            listener.socket.close()
            remedy = "mend it; until then only levibotctl and the unix socket are served"
            self._alerts.raise_alert(_TOKEN_ALERT, "critical", f"the TCP port is not opened: {error}", remedy)
            return False
        self._tcp = _Server(Gate(self._app, self.traffic, door, self._operations.record), self.traffic)
        await self._tcp.begin(listener.socket)
        self._address = listener.url
        return True

    def _make_door(self, listener: Listener) -> Door:
        tokens = open_tokens(self._data_dir, reading=self._config.read_token or not listener.loopback)
        self._alerts.clear(_TOKEN_ALERT)
        if tokens.repaired:
            remedy = "to have a new token: remove the file, then `levibotctl upgrade`"
            self._alerts.raise_alert(_TOKEN_ALERT, "warning", "; ".join(tokens.repaired), remedy)
        return Door(tokens, (self._config.host, *self._config.allowed_hosts), self.traffic)

    async def _open_port_later(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            if await self._open_port():
                return

    def _remove_socket(self) -> None:
        path = self._socket_path
        with contextlib.suppress(FileNotFoundError):
            if path is not None and path.stat().st_ino == self._inode:  # else a successor's
                path.unlink()


class _Server(uvicorn.Server):
    def __init__(self, app: Application, traffic: Traffic) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # else a client could say who it is
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
                backlog=64,  # asyncio tries so many accepts, and so many errors, when no descriptor is left
            )
        )
        self.server_state = self._connections = Connections(MOST_CONNECTIONS, traffic)
        self._task: asyncio.Task[None] | None = None

    async def begin(self, listener: socket.socket) -> None:
        """Serve; returns when requests are answered."""
        self._task = asyncio.create_task(self.serve(sockets=[listener]))
        while not self.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(_STARTUP_POLL)

    async def end(self) -> None:
        """Stop listening, and end all connections."""
        self.should_exit = True
        if self._task is not None:
            await self._task
        self._connections.cut()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's housekeeping, and ours."""
        if counter % _SWEEP_TICKS == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the supervisor."""
        yield


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
