"""Where alerts arrive: real servers on the loopback, that answer well, badly, late or never."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """An HTTP server that keeps what it gets.

    Parameters
    ----------
    answer
        Status code of the n-th request, counted from 0.
    """

    def __init__(self, answer: Callable[[int], int] = lambda _number: 200) -> None:
        self.paths: list[str] = []
        self.bodies: list[str] = []
        self.release = threading.Event()  # a request that is to hang waits for it
        self.hanging = False
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                if hook.hanging:
                    hook.release.wait(60)
                    return
                code = answer(len(hook.paths))
                hook.paths.append(self.path)
                if code < 400:
                    hook.bodies.append(body)
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What apprise's json:// sent."""
        return [json.loads(body) for body in self.bodies]

    def titled(self, word: str) -> list[dict[str, Any]]:
        """Messages with `word` in the title."""
        return [message for message in self.messages if word in message["title"]]

    def close(self) -> None:
        """Stop listening."""
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def webhook(answer: Callable[[int], int] = lambda _number: 200) -> Iterator[Webhook]:
    """A server that is gone when the block ends."""
    server = Webhook(answer)
    try:
        yield server
    finally:
        server.close()


class _SmtpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        self._say("220 test")
        data = False
        lines: list[str] = []
        for raw in self.rfile:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if data:
                if line == ".":
                    server.mails.append("\n".join(lines))
                    data, lines = False, []
                    self._say("250 taken")
                else:
                    lines.append(line)
                continue
            verb = line[:4].upper()
            if verb == "DATA":
                data = True
                self._say("354 go on")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _SmtpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    mails: list[str]


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """An SMTP server; its port, and the mails as they come."""
    server = _SmtpServer(("127.0.0.1", 0), _SmtpHandler)
    server.mails = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], server.mails
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
