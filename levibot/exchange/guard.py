"""ccxt seen from inside: every request weighed, every answer looked at, no frame that kills a stream silently.

ccxt calls its own methods for these; a subclass made at run time overrides them, for whichever exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from levibot.clock import boot_ns
from levibot.errors import MalformedAnswerError
from levibot.exchange.budget import Budget
from levibot.exchange.failures import describe, note_answer, raise_malformed, redact
from levibot.exchange.permit import PERMIT, Permit

_TOO_MANY = (418, 429)
_SNAPSHOT_DEADLINE_S = 4.0  # of the request that begins a streamed book
_DATA = (1, 2)  # text and binary, of all that aiohttp calls a message


def _ignore(*_: object) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class Watcher:
    """What a guarded exchange tells.

    Parameters
    ----------
    budget
        Every REST request takes its weight there, those that ccxt sends of itself included.
    too_many
        Called with the seconds to wait (None: not said) and a text, for each answer 418 or 429.
    connected
        Called with the URL of each WebSocket that has been opened.
    disconnected
        Called with the URL of each that has been lost, and why; also when nobody was waiting for data, which
        ccxt tells nobody.
    handled
        Called after each frame that ccxt has dealt with, with the time (CLOCK_BOOTTIME, ns) when it was read:
        what it brought is in ccxt's caches now.
    """

    budget: Budget
    too_many: Callable[[float | None, str], None]
    connected: Callable[[str], None]
    disconnected: Callable[[str, str], None]
    handled: Callable[[int], None] = _ignore


# Called when the exchange has acknowledged the subscription that this task watches. Set it in the task that calls
# `watch_*`, of an exchange that `acknowledges`.
ACKNOWLEDGED: ContextVar[Callable[[], None] | None] = ContextVar("acknowledged", default=None)


class GuardedExchange:
    """Mixin in front of a class of ccxt.pro; `watch_over` is called right after its making."""

    secrets: tuple[str, ...] = ()  # what no error may tell
    acknowledges = False  # whether `acknowledged` is called for each subscription that the exchange accepts

    def watch_over(self, watcher: Watcher) -> None:
        """Begin."""
        self.watcher = watcher
        self._lost_clients: WeakSet[Any] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._waiting: dict[str, Callable[[], None]] = {}  # ccxt's name of a stream → who waits for it
        self._ended = False

    async def end(self) -> None:
        """Close everything, and wait for what ccxt runs in the background.

        By itself ccxt leaves tasks behind, and those may open new connections after the last was closed.
        """
        self._ended = True
        self.watcher.disconnected = _ignore  # what we close ourselves is no loss
        self.timeout_on_exit = 0
        for timer in self._timers:
            timer.cancel()
        await _finish(self._tasks, cancel=True)
        parent: Any = super()
        await parent.close()
        await _finish(self._closing, cancel=False)
        await asyncio.sleep(0)  # transports close on the next turn

    async def throttle(self, cost: float | None = None) -> None:
        """Wait for the turn of one request; in place of ccxt's own throttle, which knows of no other process."""
        permit = PERMIT.get()
        weight = 1.0 if cost is None else float(cost)
        if permit is None:  # ccxt asks for something by itself, such as the snapshot of a streamed book
            await self.watcher.budget.take(weight, "data")
            return
        with permit.standing_still():
            await self.watcher.budget.take(weight, permit.weight_class)

    async def fetch_rest_order_book_safe(self, symbol: str, limit: int | None = None, params: Any = None) -> Any:
        """Ask for the book on which a stream's updates build: once, and not for ever."""
        parent: Any = super()
        async with asyncio.timeout(_SNAPSHOT_DEADLINE_S) as timeout:
            permit = PERMIT.set(Permit("data", timeout))
            try:
                return await parent.fetch_order_book(symbol, limit, params or {})
            finally:
                PERMIT.reset(permit)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Send one request; ccxt's errors tell its address, and with that the signature."""
        parent: Any = super()
        try:
            return await parent.fetch(url, method, headers, body)
        except Exception as error:
            redact(error, self.secrets)
            raise

    def handle_errors(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str,
        response: Any,
        request_headers: Any,
        request_body: Any,
    ) -> Any:
        """Look at every answer before ccxt does.

        Raises
        ------
        MalformedAnswerError
            If the exchange says that all is well and sends no JSON: ccxt would hand on the text as data.
        ccxt.BaseError
            What ccxt makes of a refusal; `levibot.exchange.failures.answer_of` tells what was refused.
        """
        if code in _TOO_MANY:
            self.watcher.too_many(_retry_after(headers), f"the exchange answered {code} (too many requests)")
        if code < 400 and not isinstance(response, dict | list):
            path = url.partition("?")[0]
            kind = _header(headers, "Content-Type") or "no content type"
            raise MalformedAnswerError(
                f"{method} {path}: status {code} with {len(body or '')} characters of {kind}, expected JSON"
            )
        parent: Any = super()
        try:
            return parent.handle_errors(
                code, reason, url, method, headers, body, response, request_headers, request_body
            )
        except Exception as error:
            note_answer(error, code, response)
            raise

    def filter_by_since_limit(
        self,
        array: Any,
        since: int | None = None,
        limit: int | None = None,
        key: Any = "timestamp",
        tail: bool = False,
    ) -> Any:
        """As ccxt does it, but a row without a time is an error.

        ccxt leaves it out, so that a page of rubbish looks like an empty one.

        Raises
        ------
        MalformedAnswerError
            If there is such a row.
        """
        _check_times(array, since, key)
        parent: Any = super()
        return parent.filter_by_since_limit(array, since, limit, key, tail)

    def filter_by_value_since_limit(
        self,
        array: Any,
        field: Any,
        value: Any = None,
        since: int | None = None,
        limit: int | None = None,
        key: Any = "timestamp",
        tail: bool = False,
    ) -> Any:
        """The same for the rows of one symbol."""
        _check_times(array, since, key)
        parent: Any = super()
        return parent.filter_by_value_since_limit(array, field, value, since, limit, key, tail)

    def client(self, url: str) -> Any:
        """The WebSocket client for `url`, its frames guarded."""
        parent: Any = super()
        clients = getattr(self, "clients", None) or {}
        known = clients.get(url)
        client = parent.client(url)
        if client is not known:
            client.handle_message = _guarded(client, client.handle_message, self._handled)
            client.future = self._noting(client.future)
            client.throttle = self._paced()
            for name in ("open", "receive", "ping_loop"):
                setattr(client, name, _tracked(getattr(client, name), self._tasks))
            for name in ("close", "aiohttp_close"):
                setattr(client, name, _tracked(getattr(client, name), self._closing))
        return client

    def acknowledged(self, name: str) -> None:
        """Tell whoever watches that the exchange has accepted the subscription which ccxt calls `name`."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            waiting()

    def _noting(self, future: Callable[[str], Any]) -> Callable[[str], Any]:
        """Note who asks for which stream."""

        def noted(name: str) -> Any:
            waiting = ACKNOWLEDGED.get()
            if waiting is not None:
                self._waiting[name] = waiting
            return future(name)

        return noted

    def _handled(self, received_ns: int) -> None:
        self.watcher.handled(received_ns)

    def _paced(self) -> Callable[[float], Awaitable[None]]:
        """What spaces the messages to one connection; ccxt's own does it in a task that outlives the client."""
        turn = asyncio.Lock()
        milliseconds: float = self.rateLimit  # type: ignore[attr-defined]  # of ccxt: for a message of cost 1

        async def throttle(cost: float = 1) -> None:
            _note_current(self._tasks)
            async with turn:
                await asyncio.sleep(cost * milliseconds / 1000)

        return throttle

    def spawn(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Run something of ccxt in the background, known to `end`."""

        async def run() -> Any:
            if self._ended:
                raise asyncio.CancelledError
            _note_current(self._tasks)
            return await method(*args)

        parent: Any = super()
        return parent.spawn(run)

    def delay(self, timeout: float, method: Callable[..., Awaitable[Any]], *args: Any) -> asyncio.TimerHandle:
        """Run something of ccxt later, known to `end`."""
        parent: Any = super()
        timer: asyncio.TimerHandle = parent.delay(timeout, method, *args)
        self._timers = {known for known in self._timers if not known.cancelled() and known.when() > _now()}
        self._timers.add(timer)
        return timer

    def on_connected(self, client: Any, message: Any = None) -> None:
        """Tell of a new connection."""
        parent: Any = super()
        parent.on_connected(client, message)
        self.watcher.connected(client.url)

    def on_error(self, client: Any, error: Exception) -> None:
        """Tell of a connection that failed."""
        parent: Any = super()
        redact(error, self.secrets)
        parent.on_error(client, error)
        self._lost(client, describe(error))

    def on_close(self, client: Any, code: Any) -> None:
        """Tell of a connection that was closed."""
        parent: Any = super()
        parent.on_close(client, code)
        self._lost(client, f"closed by the exchange, code {code}")

    def _lost(self, client: Any, reason: str) -> None:
        if client not in self._lost_clients:  # ccxt tells of one end several times
            self._lost_clients.add(client)
            self.watcher.disconnected(client.url, reason)


def guarded_class(exchange_class: type, amendment: type | None = None) -> type:
    """The class of ccxt.pro with the guard in front, and before that what it needs amended."""
    amendments = () if amendment is None else (amendment,)
    return type(exchange_class.__name__, (*amendments, GuardedExchange, exchange_class), {})


def _guarded(client: Any, handle: Callable[[Any], None], handled: Callable[[int], None]) -> Callable[[Any], None]:
    """Handle frames until one cannot be dealt with; then end the connection at once.

    Without this the exception ends ccxt's receive loop and nothing is heard until a ping fails.
    """
    poisoned = False

    def handle_message(message: Any) -> None:
        nonlocal poisoned
        if poisoned:  # frames that were buffered behind it belong to a stream that has ended
            return
        received_ns = boot_ns()
        try:
            handle(message)
        except Exception as error:  # noqa: BLE001  # whatever a frame does to the parser, the stream has a hole
            poisoned = True
            failure = _network_error(f"a frame could not be read ({describe(error)})")
            failure.__cause__ = error
            client.on_error(failure)
            return
        if message.type in _DATA:
            handled(received_ns)

    return handle_message


def _tracked(
    method: Callable[..., Awaitable[Any]], tasks: set[asyncio.Task[Any]]
) -> Callable[..., Awaitable[Any]]:
    async def run(*args: Any) -> Any:
        _note_current(tasks)
        return await method(*args)

    return run


def _note_current(tasks: set[asyncio.Task[Any]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _finish(tasks: set[asyncio.Task[Any]], *, cancel: bool) -> None:
    """Wait for these tasks, and for those that they begin meanwhile; the caller's own is not among them."""
    own = asyncio.current_task()
    while waited := [task for task in tasks if task is not own]:
        for task in waited:
            if cancel:
                task.cancel()
        await asyncio.gather(*waited, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _check_times(rows: Any, since: int | None, key: Any) -> None:
    if since is None or not isinstance(rows, list):  # then nothing is left out, and the rows are checked later
        return
    for row in rows:
        has_key = isinstance(row, dict) or (isinstance(row, list) and len(row) > key)
        time = row.get(key) if isinstance(row, dict) else row[key] if has_key else None
        if isinstance(time, bool) or not isinstance(time, int | float):
            raise_malformed("a row", row, "a time in it")


def _network_error(text: str) -> Exception:
    from ccxt.base.errors import NetworkError

    error: Exception = NetworkError(text)
    return error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = _header(headers, "Retry-After")
    try:
        seconds = float(value) if value else None
    except ValueError:  # a date, which no exchange is known to send
        return None
    return seconds if seconds is not None and 0 < seconds < float("inf") else None


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in (headers or {}).items() if key.lower() == name.lower()), None)
