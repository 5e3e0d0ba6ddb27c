"""What clients asked and what they were sent, with the time of each."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.exchange.faults import matches

KEPT = 200_000


@dataclass
class Request:
    """One HTTP request; `status` is None while no answer has left."""

    method: str
    path: str
    params: dict[str, str]
    time_ms: int
    status: int | None = None
    fault: str | None = None

    @property
    def target(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class StreamEvent:
    """One happening on a WebSocket: what is open, close, in, out, ping, pong or fault."""

    connection: int
    what: str
    stream: str
    time_ms: int
    detail: str = field(default="", repr=False)


class Log:
    """In memory, the newest of each; with a file also one JSON object a line."""

    def __init__(self, path: Path | None = None) -> None:
        self.requests: deque[Request] = deque(maxlen=KEPT)
        self.events: deque[StreamEvent] = deque(maxlen=KEPT)
        self.frames: Counter[str] = Counter()
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    @staticmethod
    def _now_ms() -> int:
        return time.time_ns() // 1_000_000

    def request(self, method: str, path: str, params: dict[str, str]) -> Request:
        """A request arrives; `answered` completes it."""
        shown = {name: value for name, value in params.items() if name != "signature"}
        request = Request(method, path, shown, self._now_ms())
        self.requests.append(request)
        return request

    def answered(self, request: Request) -> None:
        self._write({"request": asdict(request)})

    def event(self, connection: int, what: str, stream: str = "", detail: str = "") -> None:
        if what == "out":
            self.frames[stream] += 1
        event = StreamEvent(connection, what, stream, self._now_ms(), detail)
        self.events.append(event)
        self._write({"event": asdict(event)})

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()

    def asked(self, pattern: str) -> list[Request]:
        """Requests whose ``METHOD /path`` matches, oldest first."""
        return [request for request in list(self.requests) if matches(pattern, request.target)]

    def streamed(self, what: str, pattern: str = "*") -> list[StreamEvent]:
        """Stream events of one sort whose stream matches, oldest first."""
        return [event for event in list(self.events) if event.what == what and matches(pattern, event.stream)]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
