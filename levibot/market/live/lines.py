"""One WebSocket connection and the streams on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from levibot.clock import boot_ns
from levibot.exchange.failures import describe
from levibot.exchange.session import ExchangeSession
from levibot.market.live.backoff import Backoff, DialBudget
from levibot.market.live.streams import ANSWER_S, Failure, Stream, SymbolStreams, streams_of

CONNECT_S = 4.0  # until a dial is given up
_BATCH = 10  # symbols in one message; Bybit takes no more
_BATCHES: Mapping[Stream, str] = {
    "trades": "watch_trades_for_symbols",
    "book": "watch_order_book_for_symbols",
    "quote": "watch_bids_asks",
}
_HAS: Mapping[Stream, str] = {
    "trades": "watchTradesForSymbols",
    "book": "watchOrderBookForSymbols",
    "quote": "watchBidsAsks",
}
_NS = 1_000_000_000


class LineOwner(Protocol):
    """Who is told what happens to a line; each is called from the event loop."""

    def line_dials(self, line: Line) -> None:
        """It begins to connect."""
        ...

    def streams_up(self, line: Line, streams: SymbolStreams) -> None:
        """All subscriptions of a symbol were accepted."""
        ...

    def streams_failed(self, line: Line, streams: SymbolStreams, failure: Failure) -> None:
        """Those of one symbol cannot go on; the line does."""
        ...

    def line_lost(self, line: Line, reason: str) -> None:
        """It is of no use any more; told once."""
        ...


class Line:
    """One connection: dialled once, and never again. What was lost is ended, and another line takes its place.

    Parameters
    ----------
    session
        Whose sibling carries it.
    budget
        Of dials.
    backoff
        Of this connection and of those that it replaces.
    owner
        Who is told.
    delay_s
        Seconds before it is dialled.
    """

    def __init__(
        self,
        session: ExchangeSession,
        budget: DialBudget,
        backoff: Backoff,
        owner: LineOwner,
        delay_s: float = 0.0,
    ) -> None:
        self.backoff = backoff
        self.streams: dict[str, SymbolStreams] = {}
        self.frames = 0
        self.connected_ns: int | None = None
        self.is_lost = False
        self.takes_more = True  # not while it is being replaced
        self._session = session
        self._budget = budget
        self._owner = owner
        self._delay_s = delay_s
        self._exchange: Any = None
        self._dialled_ns: int | None = None
        self._frame_ns = 0
        self._pending: list[tuple[SymbolStreams, Any]] = []  # trades of the frame at hand
        self._carried: set[str] = set()  # symbols that were ever subscribed on it
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False
        self._hurry = asyncio.Event()
        self._start = asyncio.create_task(self._dial())
        self._start.add_done_callback(self._dialled)

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self.connected_ns is not None and not self.is_lost and not self._ended

    def has_room_for(self, symbol: str) -> bool:
        """Whether the symbol could be subscribed here.

        What was ever subscribed counts for good: not every exchange, nor ccxt, can take a subscription back.
        """
        if not self.takes_more or self.is_lost or self._ended or symbol in self._carried:
            return False
        each = len(streams_of(self._session.quirks))
        return (len(self._carried) + 1) * each <= max(each, self._session.quirks.subscriptions_per_connection)

    def add(self, streams: SymbolStreams) -> None:
        """Carry the streams of a symbol; they are subscribed as soon as the line is dialled."""
        self.streams[streams.symbol] = streams
        self._carried.add(streams.symbol)
        if self._exchange is not None:
            self._subscribe([streams])

    def remove(self, symbol: str) -> None:
        """Carry them no longer."""
        streams = self.streams.pop(symbol, None)
        if streams is not None:
            self._tasks.update(streams.stop())

    def hasten(self) -> None:
        """Dial now, if that is still to come, and as far as the budget of dials allows."""
        self._hurry.set()

    def check(self, now_ns: int) -> None:
        """Look for what did not come in time."""
        if self.is_lost or self._ended or self._dialled_ns is None:
            return
        if self.connected_ns is None:
            if now_ns - self._dialled_ns > CONNECT_S * _NS:
                self.lose(f"no connection within {CONNECT_S:g} s")
            return
        for streams in list(self.streams.values()):
            streams.check(now_ns)

    def lose(self, reason: str) -> None:
        """It is of no use any more."""
        if self.is_lost or self._ended:
            return
        self.is_lost = True
        for streams in self.streams.values():
            self._tasks.update(streams.stop())
        self._owner.line_lost(self, reason)

    async def end(self) -> None:
        """Close it; no task and no socket of it is left."""
        self._ended = True
        for streams in self.streams.values():
            self._tasks.update(streams.stop())
        self._start.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._start, *self._tasks, return_exceptions=True)
        if self._exchange is not None:
            await self._session.end_sibling(self._exchange)

    # ------------------------------------------------------------------ connecting

    async def _dial(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay_s):
                await self._hurry.wait()
        await self._budget.take()
        if self._ended:
            return
        self._dialled_ns = boot_ns()
        self._exchange = self._session.sibling(self._connected, self._disconnected, self._handled)
        self._owner.line_dials(self)
        self._subscribe(list(self.streams.values()))

    def _dialled(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a mistake of ours, or no way to make the object
            asyncio.get_running_loop().call_exception_handler({"message": "a dial failed", "exception": error})
            self.lose(f"the dial failed ({describe(error)})")

    def _subscribe(self, added: list[SymbolStreams]) -> None:
        """Many in one message where the exchange takes that: it is sent first, and the rest find it done."""
        batched = [
            stream
            for stream in streams_of(self._session.quirks)
            if len(added) > 1 and self._exchange.has.get(_HAS[stream])
        ]
        for stream in batched:
            for batch in _batches(added):
                self._subscribe_batch(stream, [streams.symbol for streams in batch])
        for streams in added:
            streams.start(self._exchange, self._pending, lambda: self._frame_ns, batched)
            if self.connected_ns is not None:
                streams.expect_answers(self._answers_within_s(len(added)))

    def _subscribe_batch(self, stream: Stream, symbols: list[str]) -> None:
        depth = (self._session.quirks.book_depth,) if stream == "book" else ()
        task = asyncio.create_task(getattr(self._exchange, _BATCHES[stream])(symbols, *depth))
        self._tasks.add(task)
        task.add_done_callback(self._batch_done)

    def _batch_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # those who watch single symbols are told the same, and deal with it

    def _answers_within_s(self, symbols: int) -> float:
        """Messages leave one after the other."""
        exchange = self._exchange
        cost = (exchange.options.get("ws") or {}).get("cost", 1)
        messages = symbols * len(streams_of(self._session.quirks))
        return ANSWER_S + messages * float(cost * exchange.rateLimit) / 1000

    # ------------------------------------------------------------------ what ccxt tells

    def _connected(self, url: str) -> None:
        if self.connected_ns is not None:
            return  # an exchange may need a second connection for some streams
        self.connected_ns = boot_ns()
        self.backoff.succeeded()
        within_s = self._answers_within_s(len(self.streams))
        for streams in self.streams.values():
            streams.expect_answers(within_s)

    def _disconnected(self, url: str, reason: str) -> None:
        self.lose(reason)

    def _handled(self, received_ns: int) -> None:
        self.frames += 1
        self._frame_ns = received_ns
        if not self._pending:
            return
        trades, self._pending[:] = list(self._pending), []
        for streams, batch in _grouped(trades):
            streams.on_trades(batch, received_ns)

    def made(self, symbol: str, receiver: Any, *, forwards: bool) -> SymbolStreams:
        """Streams of a symbol that tell the owner of this line what becomes of them."""
        return SymbolStreams(symbol, receiver, self._session.quirks, forwards, self._up, self._failed)

    def _up(self, streams: SymbolStreams) -> None:
        self._owner.streams_up(self, streams)

    def _failed(self, streams: SymbolStreams, failure: Failure) -> None:
        if failure.of_line:
            self.lose(failure.reason)
        elif not self.is_lost and not self._ended:
            self._owner.streams_failed(self, streams, failure)


def _batches(streams: list[SymbolStreams]) -> Iterable[list[SymbolStreams]]:
    return (streams[at : at + _BATCH] for at in range(0, len(streams), _BATCH))


def _grouped(trades: list[tuple[SymbolStreams, Any]]) -> Iterable[tuple[SymbolStreams, list[Any]]]:
    """By symbol, in order; a frame nearly always brings those of one."""
    groups: dict[int, tuple[SymbolStreams, list[Any]]] = {}
    for streams, trade in trades:
        groups.setdefault(id(streams), (streams, []))[1].append(trade)
    return groups.values()
