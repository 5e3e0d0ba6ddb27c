"""The broker's side of the market data: prices of many symbols, and the rules of their markets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from levibot.bus.codec import BAR, BOOK, MARKET, SEPARATOR, TICK, TRADES, Decoder, FrameDecoder, encode, topic
from levibot.bus.messages import (
    Acknowledge,
    Bar,
    Book,
    FeedReply,
    JoinLockstep,
    MarketSpec,
    Snapshot,
    Tick,
    Trades,
)
from levibot.bus.sockets import make_socket, send
from levibot.errors import MalformedMessageError
from levibot.execution.impact import BARS
from levibot.market.board import MarketBoard
from levibot.market.flow import FlowStream

_PARTICIPANT = "broker"


@dataclass(frozen=True)
class MarketListener:
    """Who is told what.

    Attributes
    ----------
    on_tick
        Prices, each once it has come.
    on_market
        Rules of a market, and why it is stale (empty: it is not), when either has changed.
    refuse
        What was wrong with a message that could not be used.
    on_flow
        Order books, public trades and closed bars; None: they are not wanted.
    """

    on_tick: Callable[[Tick], None]
    on_market: Callable[[MarketSpec, str], None]
    refuse: Callable[[str], None]
    on_flow: Callable[[Book | Trades | Bar], None] | None = None


class FeedLink:
    """SUB socket to the forwarder and DEALER to the feed.

    Parameters
    ----------
    context
        Of this process.
    subscribers, feed
        Endpoints.
    lockstep
        Whether the feed is to wait for our acknowledgements.
    listener
        Is told what comes.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        subscribers: str,
        feed: str,
        *,
        lockstep: bool,
        listener: MarketListener,
    ) -> None:
        self._listener = listener
        self._lockstep = lockstep
        self._subscribed: set[str] = set()
        self._decode_frame = FrameDecoder()
        self._decode_reply: Decoder[FeedReply] = Decoder(FeedReply)
        self._board = MarketBoard(self._market_changed, history=BARS if listener.on_flow else 0)
        self._prefixes = (TICK, MARKET, BAR, BOOK, TRADES) if listener.on_flow else (TICK, MARKET)
        self._flows: dict[str, FlowStream] = {}
        self._bars: defaultdict[str, list[Bar]] = defaultdict(list)  # that are not told yet
        self._epoch: int | None = None
        self.market = make_socket(context, zmq.SUB, connect=subscribers)
        self.feed = make_socket(context, zmq.DEALER, connect=feed, identity=_PARTICIPANT.encode())
        if lockstep:  # the feed waits for us with every symbol it has
            for prefix in {TICK, BAR, MARKET, *self._prefixes}:
                self.market.setsockopt(zmq.SUBSCRIBE, prefix)

    def subscribe(self, symbols: set[str]) -> None:
        """Receive exactly these symbols."""
        if self._lockstep or symbols == self._subscribed:
            return
        for option, changed in (
            (zmq.SUBSCRIBE, symbols - self._subscribed),
            (zmq.UNSUBSCRIBE, self._subscribed - symbols),
        ):
            for symbol in changed:
                for prefix in self._prefixes:
                    self.market.setsockopt(option, topic(prefix, symbol))
        for symbol in self._subscribed - symbols:
            self._board.forget(symbol)
            self._flows.pop(symbol, None)
            self._bars.pop(symbol, None)
        self._subscribed = set(symbols)

    def ask(self, symbols: set[str], now_ns: int) -> None:
        """Ask for the rules of these symbols: of those that are not known at once, of the others in turn.

        Under lockstep that also finds a feed that has started again: it knows no participants, and publishes
        nothing that would tell us.
        """
        for request in self._board.ask(symbols, now_ns):
            send(self.feed, encode(request))

    def on_reply(self, frames: list[bytes]) -> None:
        """One message from the feed."""
        try:
            reply = self._decode_reply(frames[-1])
        except MalformedMessageError as error:
            self._listener.refuse(f"from the feed: {error}")
            return
        self._board.learn(reply)
        if not isinstance(reply, Snapshot):
            return
        if self._lockstep and reply.epoch != self._epoch:
            self._epoch = reply.epoch
            send(self.feed, encode(JoinLockstep(_PARTICIPANT, [])))
        if self._listener.on_flow is not None:
            self._bars[reply.symbol] += reply.bars
            self._tell_flow_at_once(reply.symbol)
        if reply.last_tick is not None:
            self._tick(reply.last_tick)

    def on_frame(self, frames: list[bytes]) -> None:
        """One message from the forwarder."""
        data = frames[-1]
        if self._listener.on_flow is not None and data.startswith((BOOK, TRADES)):
            self._take_flow(data)
            return
        try:
            message = self._decode_frame(data)
        except MalformedMessageError as error:
            self._listener.refuse(f"market data: {error}")
            return
        match message:
            case Tick():
                self._tell_flow(message.symbol)
                self._tick(message)
                kind = Acknowledge(_PARTICIPANT, message.symbol, "tick", message.seq)
            case Bar():
                self._bars[message.symbol].append(message)
                self._tell_flow_at_once(message.symbol)
                kind = Acknowledge(_PARTICIPANT, message.symbol, "bar", message.seq)
            case _:
                self._board.heed(message)
                kind = Acknowledge(_PARTICIPANT, message.symbol, "market", message.seq)
        if message.lockstep:
            send(self.feed, encode(kind))

    def close(self) -> None:
        """Close both sockets."""
        self.market.close(0)
        self.feed.close(0)

    def _market_changed(self, _symbol: str, market: MarketSpec | None, stale: str) -> None:
        if market is not None:  # without its rules nothing can be traded anyway
            self._listener.on_market(market, stale)

    def _take_flow(self, data: bytes) -> None:
        head, _, _ = data.partition(SEPARATOR)
        symbol = head.partition(b".")[2].decode(errors="replace")
        flow = self._flows.get(symbol)
        if flow is None:
            flow = FlowStream(symbol, trades=True, books=True, refuse=self._listener.refuse)
            self._flows[symbol] = flow
        flow.take(data)
        self._tell_flow_at_once(symbol)

    def _tell_flow_at_once(self, symbol: str) -> None:
        """Under lockstep only with the next tick: an order that was decided before it must not see more."""
        if not self._lockstep:
            self._tell_flow(symbol)

    def _tell_flow(self, symbol: str) -> None:
        on_flow = self._listener.on_flow
        if on_flow is None:
            self._bars.clear()
            return
        bars = sorted(self._bars.pop(symbol, []), key=lambda bar: bar.open_ms)
        flow = self._flows.get(symbol)
        for item in (*bars, *(flow.release() if flow else ())):
            on_flow(item)

    def _tick(self, tick: Tick) -> None:
        prices = (tick.bid, tick.ask, tick.last)
        if all(map(math.isfinite, prices)) and max(prices) > 0:
            self._listener.on_tick(tick)
        else:
            self._listener.refuse(f"market data: tick {tick.seq} of {tick.symbol} has no price: {prices}")
