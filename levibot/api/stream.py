"""Server-sent events of the status document: one rendering for all who listen, nothing queued for any of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from starlette.responses import Response

from levibot.api.operations import Operations
from levibot.api.problems import Problem
from levibot.api.rendering import SharedStatus, render
from levibot.api.traffic import Traffic
from levibot.clock import boot_seconds

MOST_STREAMS = 32
STATUS_SECONDS = 1.0  # between two documents while nothing happens
_LOOK_SECONDS = 0.1  # between two looks at the states
_KEPT_TRANSITIONS = 256  # of these a slow reader finds those that it has missed
_RETRY_MS = 2000  # that a browser waits before it connects again
_FULL = Problem(503, f"{MOST_STREAMS} event streams are open", "close one", (("retry-after", "5"),))


class StatusStreams:
    """All open event streams.

    While somebody listens, one task looks for changes. A listener who is slow gets the newest document when
    it reads on; one who does not read is cut off by its `Connection`.

    Parameters
    ----------
    operations
        The supervisor.
    status
        The document.
    traffic
        Where open streams are counted.
    """

    def __init__(self, operations: Operations, status: SharedStatus, traffic: Traffic) -> None:
        self._operations = operations
        self._status = status
        self._traffic = traffic
        self._listeners: set[asyncio.Event] = set()
        self._watch: asyncio.Task[None] | None = None
        self._number = 0
        self._document: tuple[int, bytes] = (0, b"")
        self._transitions: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_TRANSITIONS)
        self._closed = False

    def open(self) -> Response:
        """One more stream, as an answer."""
        return _Stream(self)

    async def close(self) -> None:
        """End all streams, and the task."""
        self._closed = True
        self._wake()
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def serve(self, receive: Any, send: Any) -> None:
        """Send events until the client goes, or all streams end."""
        if len(self._listeners) >= MOST_STREAMS or self._closed:
            await _FULL.send(send)
            return
        news, gone = asyncio.Event(), asyncio.create_task(_until_gone(receive))
        gone.add_done_callback(lambda _task: news.set())
        self._listeners.add(news)
        self._traffic.streams += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._send_events(news, gone, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._listeners.discard(news)
            self._traffic.streams -= 1

    async def _send_events(self, news: asyncio.Event, gone: asyncio.Task[None], send: Any) -> None:
        first, seen = await self._first(), self._number
        await send(_part(f"retry: {_RETRY_MS}\n\n".encode() + first))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        while not (self._closed or gone.done()):
            number, document = self._document
            events = [event for at, event in self._transitions if at > seen]
            if number > seen:
                events.append(document)
            seen = self._number
            news.clear()
            if events:
                await send(_part(b"".join(events)))
            elif not (self._closed or gone.done()):
                await news.wait()

    async def _first(self) -> bytes:
        return _event("status", self._number, await self._status.body())

    # ------------------------------------------------------------------ looking for changes

    async def _look(self) -> None:
        states: dict[str, str] | None = None
        due = boot_seconds() + STATUS_SECONDS
        while self._listeners:
            try:
                before, states = states, self._operations.status_words()
                changed = self._note_transitions(states if before is None else before, states)
                if changed:
                    self._status.forget()
                if changed or boot_seconds() >= due:
                    due = boot_seconds() + STATUS_SECONDS
                    body = await self._status.body()
                    self._number += 1
                    self._document = (self._number, _event("status", self._number, body))
                    self._wake()
            except Exception as error:  # noqa: BLE001 -- listeners stay, and get the next document
                self._operations.unexpected(error)
            await asyncio.sleep(_LOOK_SECONDS)

    def _note_transitions(self, before: dict[str, str], now: dict[str, str]) -> bool:
        """Whether any status word changed."""
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        for name in names:
            self._number += 1
            body = render({"name": name, "was": before.get(name), "status": now.get(name)})
            self._transitions.append((self._number, _event("state", self._number, body)))
        return bool(names)

    def _wake(self) -> None:
        for news in self._listeners:
            news.set()


class _Stream(Response):
    def __init__(self, streams: StatusStreams) -> None:
        super().__init__(media_type="text/event-stream")
        self._streams = streams

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._streams.serve(receive, send)


_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects events would make them old
]


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _event(name: str, number: int, body: bytes) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, body)
