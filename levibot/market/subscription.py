"""One symbol's market data as an engine receives it: drained, conflated, without unseen holes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import zmq

from levibot.bus.codec import BAR, MARKET, TICK, Decoder, FrameDecoder, encode, topic
from levibot.bus.messages import (
    Acknowledge,
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
    SpecChanged,
    Tick,
    Trades,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.errors import MalformedMessageError
from levibot.market.flow import FlowStream
from levibot.market.stream import MarketStream

_ASK_AGAIN_NS = 500_000_000  # no answer came
_NOT_READY_NS = 100_000_000  # the feed is there, and will have the symbol in a moment
_FAREWELL_MS = 200
_DRAIN_LIMIT = 10_000  # bounds one turn of the loop, about 30 ms


class MarketSubscription:
    """SUB socket to the forwarder and DEALER to the feed, for one symbol.

    Bars, market events and snapshots come out all, in order. Of ticks that wait together the latest comes
    out. Under lockstep every one of these messages comes out. Of books that wait together the
    latest comes out, and all trades in order: after the tick, so that they meet the newest price, and before
    a bar that was published after them.

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
    trades, books
        Whether public trades and order books are wanted too.
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
        refuse: Callable[[str], None],
    ) -> None:
        self.stream = MarketStream()
        self.received = 0
        self.conflated = 0
        self.refused_because = ""  # the feed's last reason to give no snapshot
        self._symbol = symbol
        self._bars = bars
        self._name = name
        self._lockstep = lockstep
        self._refuse = refuse
        self._flow = FlowStream(symbol, trades=trades, books=books, refuse=refuse) if trades or books else None
        self._decode_frame = FrameDecoder()
        self._decode_reply: Decoder[FeedReply] = Decoder(FeedReply)
        self._request_id = 0
        self._ask_at_ns = 0
        self._unacknowledged: list[Acknowledge] = []
        self.sub = make_socket(context, zmq.SUB)
        flow_topics = self._flow.topics if self._flow is not None else ()
        for wanted in (*(topic(prefix, symbol) for prefix in (TICK, BAR, MARKET)), *flow_topics):
            self.sub.setsockopt(zmq.SUBSCRIBE, wanted)
        self.sub.connect(subscribers)
        self.feed = make_socket(context, zmq.DEALER, connect=feed, identity=name.encode())

    @property
    def dropped(self) -> int:
        """Messages that were published and never came; of bars and market events none is ever missed."""
        return self.stream.dropped + (self._flow.dropped if self._flow is not None else 0)

    def ask(self, now_ns: int) -> int | None:
        """Ask for a snapshot if one is needed and due; return when to call again, None if none is.

        Under lockstep a silent feed is asked too: one that has started again waits for participants that
        it does not know, and publishes nothing that would tell us.
        """
        if not self.stream.waiting and not self._lockstep:
            self._ask_at_ns = 0
            return None
        if now_ns >= self._ask_at_ns:
            self._ask_at_ns = now_ns + _ASK_AGAIN_NS
            self._request_id = now_ns  # an answer to an earlier incarnation can never match
            if self._lockstep and self.stream.waiting:
                send(self.feed, encode(JoinLockstep(self._name, [self._symbol])))
            bars = self._bars if self.stream.waiting else 1
            send(self.feed, encode(SnapshotRequest(self._request_id, self._symbol, bars)))
        return self._ask_at_ns

    def drain(self) -> Iterator[Snapshot | Reliable | Tick | Trades | Book]:
        """Everything that waits, in order, conflated."""
        yield from self._drain_feed()
        yield from self._drain_market()

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

    def _drain_feed(self) -> Iterator[Snapshot | Reliable]:
        for frames in drain(self.feed):
            self.received += 1
            try:
                reply = self._decode_reply(frames[-1])
            except MalformedMessageError as error:
                self._refuse(f"from the feed: {error}")
                continue
            if reply.request_id != self._request_id:
                continue
            if isinstance(reply, SnapshotRefused):
                self.refused_because = reply.reason
                self._ask_at_ns = boot_ns() + _NOT_READY_NS
                continue
            self.refused_because = ""
            if not self.stream.waiting:  # a look at a silent feed
                self.stream.meet(reply.epoch)
                self._ask_at_ns = 0 if self.stream.waiting else self._ask_at_ns
                continue
            later = self.stream.load(reply)
            yield reply
            yield from later

    def _drain_market(self) -> Iterator[Reliable | Tick | Trades | Book]:
        latest: Tick | None = None
        flow = self._flow
        for frames in drain(self.sub, _DRAIN_LIMIT):
            self.received += 1
            frame = frames[-1]
            if flow is not None and flow.owns(frame):
                flow.take(frame)
                continue
            message = self._decode(frame)
            if message is None:
                continue
            if message.lockstep:
                self._note_lockstep(message)
            if isinstance(message, Tick):
                if not self.stream.tick(message):
                    continue
                if latest is not None and not latest.lockstep:
                    self.conflated += 1
                elif latest is not None:
                    yield latest
                latest = message
            elif self.stream.reliable(message):
                if latest is not None:
                    yield latest
                    latest = None
                if flow is not None:
                    yield from flow.release()
                yield message
        if latest is not None:
            yield latest
        if flow is not None:
            yield from flow.release()

    def _decode(self, frame: bytes) -> Tick | Bar | MarketEvent | None:
        try:
            message = self._decode_frame(frame)
        except MalformedMessageError as error:
            self._refuse(f"market data: {error}")
            return None
        problem = _problem(message, self._symbol)
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


def _problem(message: Tick | Bar | MarketEvent, symbol: str) -> str:
    if message.symbol != symbol:
        return f"a message of {message.symbol!r:.40} under the topic of {symbol}"
    if isinstance(message, Tick):
        prices = (message.bid, message.ask, message.last)
    elif isinstance(message, Bar | BarCorrected):
        prices = (message.low, message.high, message.close)
    elif isinstance(message, SpecChanged) and message.spec.symbol != symbol:
        return f"rules of {message.spec.symbol!r:.40} under the topic of {symbol}"
    else:
        return ""
    if all(math.isfinite(price) and price > 0 for price in prices):
        return ""
    return f"{type(message).__name__.lower()} {message.seq} has a price that is none: {prices}"
