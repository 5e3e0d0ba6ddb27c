"""The listening socket of the TCP port."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from levibot.errors import RetryError


class PortError(RetryError):
    """The port cannot be had now.

    Parameters
    ----------
    text
        Which, and why.
    remedy
        What the operator can do about it.
    """

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(frozen=True)
class Listener:
    """A socket that listens.

    Parameters
    ----------
    socket
        The socket.
    loopback
        Whether only this machine reaches it.
    url
        How it is reached.
    """

    socket: socket.socket
    loopback: bool
    url: str


async def listen(host: str, port: int) -> Listener:
    """Bind an address and listen.

    Parameters
    ----------
    host, port
        An address, or a name that has one; of several the first is taken.

    Raises
    ------
    PortError
        If the name has no address, or the port is taken.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PortError(f"api.host {host!r} has no address: {error}", "correct api.host") from error
    family, _, _, _, address = found[0]
    # Named, or asyncio does not switch Nagle's algorithm off, and every answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Two sockets may be bound to one port with SO_REUSEADDR until one listens.
        listener.listen()
    except OSError as error:
        listener.close()
        raise PortError(
            f"port {port} of {host} cannot be had: {error.strerror}; the unix socket serves all the same",
            "set another api.port (0: none), or end who holds it; it is tried again every few seconds",
        ) from error
    bound, port = listener.getsockname()[:2]
    shown = f"[{bound}]" if family == socket.AF_INET6 else bound
    return Listener(listener, ip_address(bound.partition("%")[0]).is_loopback, f"http://{shown}:{port}")
