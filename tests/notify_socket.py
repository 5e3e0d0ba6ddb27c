"""The other end of sd_notify: a datagram socket that keeps what comes, with the time at which it came."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class NotifySocket:
    """Listens on a path, or on an abstract name written with @, as systemd does.

    Parameters
    ----------
    address
        As NOTIFY_SOCKET names it.

    Attributes
    ----------
    heard
        Called with each line, in the listener's thread.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: Callable[[str], None] = lambda _line: None
        self.received: list[tuple[float, str]] = []  # monotonic seconds, one line
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._senders: set[int] = set()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """All that came, in order."""
        return [line for _, line in list(self.received)]

    @property
    def senders(self) -> set[int]:
        """Pids of those who wrote, by the kernel's word."""
        return set(self._senders)

    def times(self, line: str, since: float = 0.0) -> list[float]:
        """When this line came."""
        return [when for when, text in list(self.received) if text == line and when >= since]

    def newest(self, prefix: str) -> str:
        """Rest of the newest line with this beginning; empty if none came."""
        return next((line.removeprefix(prefix) for line in reversed(self.lines) if line.startswith(prefix)), "")

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(40)
        self._socket.close()
        if not self.address.startswith("@"):
            os.unlink(self.address)

    def _listen(self) -> None:
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            if not data:
                return
            for _, _, credentials in ancillary:
                self._senders.add(int.from_bytes(credentials[:4], "little"))
            now = time.monotonic()
            for line in data.decode().splitlines():
                self.received.append((now, line))
                self.heard(line)


@contextmanager
def listening(address: str) -> Iterator[NotifySocket]:
    """A notify socket for the length of a block."""
    listener = NotifySocket(address)
    try:
        yield listener
    finally:
        listener.close()
