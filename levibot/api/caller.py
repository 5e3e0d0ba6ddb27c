"""Who asks for a change: a user of this machine over the unix socket, or whoever holds a token."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

PEER = "levibot.peer"  # key of the scope: process and user at the other end of the unix socket
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who, and how they came in.

    Attributes
    ----------
    way
        Over the unix socket, over TCP, by a signal to the daemon's process, or by starting it.
    name
        Of the user; over TCP of the token's file, never what it holds; of the signal.
    uid, pid
        At the other end of the unix socket when it was connected; None: unknown.
    address
        Where a request over TCP came from; else empty.
    """

    way: Literal["unix", "tcp", "signal", "process"]
    name: str
    uid: int | None = None
    pid: int | None = None
    address: str = ""

    def __str__(self) -> str:
        where = f" from {self.address}" if self.address else ""
        return f"{self.name}{where}" if self.way != "unix" else f"{self.name} (uid {self.uid})"


NOBODY = Caller("process", "levibot")
CALLER: ContextVar[Caller] = ContextVar("levibot_caller", default=NOBODY)
"""Who asked for what is being carried out; set for each request that may change something."""


def peer_of(connection: Any) -> tuple[int, int] | None:
    """Process and user at the other end of a unix socket; None for any other socket."""
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def caller_of(scope: Mapping[str, Any], token_name: str) -> Caller:
    """Who sent a request.

    Parameters
    ----------
    scope
        Of the request.
    token_name
        Name of the token that it was let in with, if it came over TCP.
    """
    peer = scope.get(PEER)
    if peer is not None:
        pid, uid = peer
        return Caller("unix", user_name(uid), uid, pid)
    client = scope.get("client")
    return Caller("tcp", token_name, address=client[0] if client else "")


def starter() -> Caller:
    """The user whose process this is."""
    return Caller("process", user_name(os.getuid()), os.getuid(), os.getpid())


def user_name(uid: int) -> str:
    """Name of a user; the number, if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
