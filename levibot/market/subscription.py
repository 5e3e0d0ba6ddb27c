"""One symbol's market data as an engine receives it: drained, conflated, without unseen holes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Literal

import zmq

from levibot.bus.codec import BAR, MARKET, TICK, Decoder, FrameDecoder, encode, topic
from levibot.bus.messages import (
    Acknowledge,
    AltData,
    Bar,
    BarCorrected,
    Book,
    FeedReply,
    JoinLockstep,
    LeaveLockstep,
    MarketEvent,
    Reliable,
    Snapshot,
    SnapshotRefused,
    SnapshotRequest,
    Tick,
    Trades,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.errors import MalformedMessageError
from levibot.market.altdata import AltDataStream
from levibot.market.context import ContextBar, ContextStream, context_bars
from levibot.market.flow import FlowStream
from levibot.market.stream import MarketStream, problem_with

_ASK_AGAIN_NS = 500_000_000  # no answer came
_NOT_READY_NS = 100_000_000  # the feed is there, and will have the symbol in a moment
_FAREWELL_MS = 200
_DRAIN_LIMIT = 10_000  # bounds one turn of the loop, about 30 ms


Received = Snapshot | Reliable | Tick | Trades | Book | ContextBar | AltData


class MarketSubscription:
    """SUB socket to the forwarder and DEALER to the feed, for one symbol.

    Bars, market events and snapshots come out all, in order. Of ticks that wait together the latest comes
    out. Under lockstep every one of these messages comes out. Of books that wait together the
    latest comes out, and all trades in order: after the tick, so that they meet the newest price, and before
    a bar that was published after them.

    Bars of the context symbol come out in the order in which the feed published them, between those of the own
    symbol: that of a minute is there before the own one of the next. If the own symbol is the context, its bars
    come out a second time. Without context nothing waits, but for lockstep's sake an acknowledgement does.

    Parameters
    ----------
    context
        Of this process.
    subscribers, feed
        Endpoints.
    symbol
        Canonical symbol.
    bars
        Closed bars to ask for.
    name
        Of the worker: its identity, and its name in lockstep.
    lockstep
        Whether the feed is to wait for our acknowledgements.
    trades, books, altdata
        Whether public trades, order books and alternative data are wanted too.
    context_symbol
        Symbol whose bars are wanted too; empty: none.
    refuse
        Called with what was wrong with a message that could not be read.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        subscribers: str,
        feed: str,
        *,
        symbol: str,
        bars: int,
        name: str,
        lockstep: bool,
        trades: bool = False,
        books: bool = False,
        altdata: bool = False,
        context_symbol: str = "",
        refuse: Callable[[str], None],
    ) -> None:
        self.stream = MarketStream()
        self.received = 0
        self.conflated = 0
        self._symbol = symbol
        self._bars = bars
        self._name = name
        self._lockstep = lockstep
        self._refuse = refuse
        self._flow = FlowStream(symbol, trades=trades, books=books, refuse=refuse) if trades or books else None
        self._is_context = context_symbol == symbol
        has_other = context_symbol not in ("", symbol)
        self._context = ContextStream(context_symbol, bars, refuse) if has_other else None
        self._altdata = AltDataStream(symbol.partition("/")[0], refuse) if altdata else None
        self._latest: Tick | None = None  # that has not been given yet
        self._decode_frame = FrameDecoder()
        self._decode_reply: Decoder[FeedReply] = Decoder(FeedReply)
        self._request_id = 0
        self._ask_at_ns = 0
        self._unacknowledged: list[Acknowledge] = []
        self.sub = make_socket(context, zmq.SUB)
        more = [wanted.topics for wanted in (self._flow, self._context, self._altdata) if wanted is not None]
        for wanted in (*(topic(prefix, symbol) for prefix in (TICK, BAR, MARKET)), *chain.from_iterable(more)):
            self.sub.setsockopt(zmq.SUBSCRIBE, wanted)
        self.sub.connect(subscribers)
        self.feed = make_socket(context, zmq.DEALER, connect=feed, identity=name.encode())

    @property
    def dropped(self) -> int:
        """Messages that were published and never came; of bars and market events none is ever missed."""
        return self.stream.dropped + (self._flow.dropped if self._flow is not None else 0)

    @property
    def settled(self) -> bool:
        """Whether all that the feed has published is here, as far as one can see."""
        return not self.stream.waiting and (self._context is None or self._context.settled)

    def ask(self, now_ns: int) -> int | None:
        """Ask for the snapshots that are needed and due; return when to call again, None if none is needed."""
        due = [self._ask_own(now_ns)]
        if self._context is not None:
            if (context_ns := self._context.due_ns) is not None and now_ns >= context_ns:
                send(self.feed, encode(self._context.request(now_ns)))
            due.append(self._context.due_ns)
        return min((at_ns for at_ns in due if at_ns is not None), default=None)

    def _ask_own(self, now_ns: int) -> int | None:
        """Ask for the own symbol, and before it for the context, so that the answers come in that order.

        Under lockstep a silent feed is asked too: one that has started again waits for participants that
        it does not know, and publishes nothing that would tell us.
        """
        if not self.stream.waiting and not self._lockstep:
            self._ask_at_ns = 0
            return None
        if now_ns >= self._ask_at_ns:
            if self._context is not None and self.stream.waiting:
                send(self.feed, encode(self._context.request(now_ns)))
            self._ask_at_ns = now_ns + _ASK_AGAIN_NS
            self._request_id = now_ns  # an answer to an earlier incarnation can never match
            if self._lockstep and self.stream.waiting:
                send(self.feed, encode(JoinLockstep(self._name, [self._symbol])))
            bars = self._bars if self.stream.waiting else 1
            send(self.feed, encode(SnapshotRequest(self._request_id, self._symbol, bars)))
        return self._ask_at_ns

    def drain(self) -> Iterator[Received]:
        """Everything that waits, in order, conflated."""
        for message in chain(self._drain_feed(), self._drain_market()):
            if self._is_context and isinstance(message, Snapshot):
                yield from map(ContextBar, message.bars)
            yield message
            if self._is_context and isinstance(message, Bar | BarCorrected):
                yield from context_bars(message)

    def acknowledge(self) -> None:
        """Tell the feed that everything so far has been dealt with."""
        for message in self._unacknowledged:
            send(self.feed, encode(message))
        self._unacknowledged.clear()

    def close(self) -> None:
        """Close both sockets; under lockstep nobody is to wait for us."""
        if self._lockstep:
            send(self.feed, encode(LeaveLockstep(self._name)))
        self.sub.close(0)
        self.feed.close(_FAREWELL_MS)

    def _drain_feed(self) -> Iterator[Snapshot | Reliable | ContextBar]:
        for frames in drain(self.feed):
            self.received += 1
            try:
                reply = self._decode_reply(frames[-1])
            except MalformedMessageError as error:
                self._refuse(f"from the feed: {error}")
                continue
            if self._context is not None and reply.symbol == self._context.symbol:
                yield from self._context.answer(reply)
                continue
            if reply.request_id != self._request_id:
                continue
            if isinstance(reply, SnapshotRefused):
                self._ask_at_ns = boot_ns() + _NOT_READY_NS
                continue
            if not self.stream.waiting:  # a look at a silent feed
                self.stream.meet(reply.epoch)
                self._ask_at_ns = 0 if self.stream.waiting else self._ask_at_ns
                continue
            later = self.stream.load(reply)
            yield reply
            yield from later

    def _drain_market(self) -> Iterator[Reliable | Tick | Trades | Book | ContextBar | AltData]:
        for frames in drain(self.sub, _DRAIN_LIMIT):
            self.received += 1
            frame = frames[-1]
            if self._flow is not None and self._flow.owns(frame):
                self._flow.take(frame)
            elif self._context is not None and self._context.owns(frame):
                for context_bar in self._context.take(frame):
                    yield from self._release()
                    yield context_bar
            elif self._altdata is not None and self._altdata.owns(frame):
                if (data := self._altdata.take(frame)) is not None:
                    yield data
            elif (message := self._decode(frame)) is not None:
                yield from self._take(message)
        yield from self._release()

    def _take(self, message: Tick | Reliable) -> Iterator[Reliable | Tick | Trades | Book]:
        if message.lockstep:
            self._note_lockstep(message)
        if isinstance(message, Tick):
            if not self.stream.tick(message):
                return
            if self._latest is not None and not self._latest.lockstep:
                self.conflated += 1
            elif self._latest is not None:
                yield self._latest
            self._latest = message
        elif self.stream.reliable(message):
            yield from self._release()
            yield message

    def _release(self) -> Iterator[Tick | Trades | Book]:
        """What was held back for newer ones of its kind."""
        latest, self._latest = self._latest, None
        if latest is not None:
            yield latest
        if self._flow is not None:
            yield from self._flow.release()

    def _decode(self, frame: bytes) -> Tick | Bar | MarketEvent | None:
        try:
            message = self._decode_frame(frame)
        except MalformedMessageError as error:
            self._refuse(f"market data: {error}")
            return None
        problem = problem_with(message, self._symbol)
        if problem:
            self._refuse(f"market data: {problem}")
            return None
        return message

    def _note_lockstep(self, message: Tick | Bar | MarketEvent) -> None:
        kind: Literal["tick", "bar", "market"] = "market"
        if isinstance(message, Tick | Bar):
            kind = "tick" if isinstance(message, Tick) else "bar"
        acknowledgement = Acknowledge(self._name, self._symbol, kind, message.seq)
        if acknowledgement not in self._unacknowledged:  # the feed repeats what was not acknowledged
            self._unacknowledged.append(acknowledgement)
