"""A provider on 127.0.0.1: it answers as the real one does, or with the next fault that was ordered."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

Answer = Callable[[web.Request], Any]  # what is answered as JSON
BODY = web.RequestKey("body", bytes)  # of a request, for answers that depend on it


@dataclass(frozen=True)
class Fault:
    """What is done in place of an answer."""

    name: str
    kind: str  # of the error that it causes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait_s: float = 0.0
    resets: bool = False
    lasts: int = 1_000  # requests
    survived: bool = False  # tried again, and whole


HUGE = b"[" + b"0," * 2_000_000 + b"0]"
# What can happen to any request, whatever is asked.
FAULTS = (
    Fault("429 with seconds", "throttled", 429, {"Retry-After": "120"}),
    Fault("429 with a date", "throttled", 429, {"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}),
    Fault("429 without a time", "throttled", 429),
    Fault("503 with a time", "throttled", 503, {"Retry-After": "30"}),
    Fault("500", "unreachable", 500),
    Fault("503", "unreachable", 503),
    Fault("500 once", "", 500, lasts=1, survived=True),
    Fault("reset once", "", resets=True, lasts=1, survived=True),
    Fault("slow", "unreachable", wait_s=30.0),
    Fault("reset", "unreachable", resets=True),
    Fault("no JSON", "malformed", body=b'{"data": ['),
    Fault("empty", "malformed"),
    Fault("HTML", "malformed", headers={"Content-Type": "text/html"}, body=b"<html>come back later</html>"),
    Fault("another form", "malformed", body=b'{"hello": "world"}'),
    Fault("a list", "malformed", body=b"[1, 2, 3]"),
    Fault("null", "malformed", body=b"null"),
    Fault("huge", "malformed", body=HUGE),
    Fault("broken compression", "unreachable", headers={"Content-Encoding": "gzip"}, body=b"no gzip at all"),
    Fault("no such path", "refused", 404, body=b'{"error": "not found"}'),
    Fault("bad request", "refused", 400, body=b'{"error": {"type": "bad_parameter"}}'),
    Fault("key refused", "refused", 401, body=b'{"error": "invalid API Key"}'),
    Fault("sent elsewhere", "refused", 302, {"Location": "http://127.0.0.1:1/"}),
)


class Provider:
    """One server; `answers` by path is what it knows.

    Attributes
    ----------
    asked
        Requests that came.
    faults
        To be done to the next requests, one each, before it answers again.
    """

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[web.Request] = []
        self.faults: deque[Fault] = deque()
        self.url = ""

    def fail(self, fault: Fault) -> None:
        """Do `fault` to as many requests as it lasts."""
        self.faults.extend([fault] * fault.lasts)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer, or not."""
        self.asked.append(request)
        request[BODY] = await request.read()
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            answer = self.answers.get(request.path)
            if answer is None:
                return web.json_response({"error": "not found"}, status=404)
            content = answer(request)
            if isinstance(content, web.Response):
                return content
            body = content if isinstance(content, bytes) else msgspec.json.encode(content)
            return web.Response(body=body, content_type="application/json")
        await asyncio.sleep(fault.wait_s)
        if fault.resets and request.transport is not None:
            request.transport.abort()
        return web.Response(status=fault.status, headers=fault.headers, body=fault.body)


@contextlib.asynccontextmanager
async def serving(answers: dict[str, Answer]) -> AsyncIterator[Provider]:
    """A provider that is gone when the block ends."""
    provider = Provider(answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def serving_beside(answers: dict[str, Answer]) -> Iterator[Provider]:
    """The same on a thread of its own, for tests that have no loop."""
    started, stop = threading.Event(), asyncio.Event()
    made: list[tuple[Provider, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with serving(answers) as provider:
            made.append((provider, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(60), "the provider did not start"
        yield made[0][0]
    finally:
        if made:
            made[0][1].call_soon_threadsafe(stop.set)
        thread.join(40)
