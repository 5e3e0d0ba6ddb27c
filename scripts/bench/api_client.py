"""``python -m scripts.bench.api_client PORT PATH CONNECTIONS SECONDS RATE``: one client of the HTTP interface.

A process of its own, with plain sockets that stay open, so that it measures the server and not itself. It
prints ``count seconds`` and then one line for each answer: microseconds from request to the last byte.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

_RECEIVED = 262_144
_LENGTH = b"content-length: "


class Asker:
    """One connection, with at most one request under way."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._buffer = bytearray()
        self._wanted = 0
        self.asked = 0.0

    def ask(self) -> None:
        """Send the request."""
        self._buffer.clear()
        self._wanted = 0
        self.asked = time.perf_counter()
        self.socket.sendall(self._request)

    def take(self) -> bool:
        """Receive; whether the answer is whole."""
        part = self.socket.recv(_RECEIVED)
        if not part:
            raise RuntimeError("the server has closed the connection")
        self._buffer += part
        if not self._wanted and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            if not self._buffer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"answered {bytes(self._buffer[:80])!r}")
            at = self._buffer.index(_LENGTH) + len(_LENGTH)
            self._wanted = end + 4 + int(self._buffer[at : self._buffer.index(b"\r\n", at)])
        return 0 < self._wanted <= len(self._buffer)


def main(port: int, path: str, connections: int, seconds: float, rate: float) -> None:
    """Ask `rate` times a second in all, or as fast as answers come if it is 0."""
    askers = [Asker(port, path) for _ in range(connections)]
    for asker in askers:  # the first request of a connection is another thing
        asker.ask()
        while not asker.take():
            pass
    times: list[float] = []
    began = time.perf_counter()
    if rate:
        _ask_steadily(askers, began, seconds, rate, times)
    else:
        _ask_flat_out(askers, began + seconds, times)
    print(len(times), time.perf_counter() - began)
    print("\n".join(f"{taken * 1e6:.0f}" for taken in times))


def _ask_flat_out(askers: list[Asker], end: float, times: list[float]) -> None:
    with selectors.DefaultSelector() as selector:
        for asker in askers:
            selector.register(asker.socket, selectors.EVENT_READ, asker)
            asker.ask()
        while (now := time.perf_counter()) < end:
            for key, _ in selector.select(end - now):
                asker = key.data
                if asker.take():
                    times.append(time.perf_counter() - asker.asked)
                    asker.ask()


def _ask_steadily(askers: list[Asker], began: float, seconds: float, rate: float, times: list[float]) -> None:
    for number in range(int(seconds * rate)):
        due = began + number / rate
        if (pause := due - time.perf_counter()) > 0:
            time.sleep(pause)
        asker = askers[number % len(askers)]
        asker.ask()
        while not asker.take():
            pass
        times.append(time.perf_counter() - due)  # also what a late request before it cost


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
