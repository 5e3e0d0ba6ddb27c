"""Feed, risk and broker of one engine, on real sockets: each does what a test tells it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import zmq

from levibot.bus.codec import ALTDATA, BAR, BOOK, MARKET, TICK, TRADES, Decoder, encode, frame
from levibot.bus.messages import (
    Acknowledge,
    AltData,
    Bar,
    BarCorrected,
    Book,
    BrokerRequest,
    CancelOrder,
    FeedRequest,
    Fill,
    Grant,
    Hello,
    Intent,
    JoinLockstep,
    MarketEvent,
    MarketRecovered,
    MarketStale,
    OrderAccepted,
    OrderEvent,
    OrderEvents,
    OrderFilled,
    OrderSubmitted,
    Reconciled,
    ReconcileRequest,
    RiskRefused,
    RiskRequest,
    Snapshot,
    SnapshotRequest,
    SpecChanged,
    SubmitOrder,
    Tick,
    Trade,
    Trades,
)
from levibot.bus.sockets import drain, make_socket
from levibot.clock import boot_ns
from levibot.execution.position import after_fill, flat
from levibot.spec import Endpoints, engine_name
from tests.engine.scene import SYMBOL, market_spec

NAME = engine_name(SYMBOL)
CONTEXT = "BTC/EUR"


class Feed:
    """Publishes what it is told, and answers snapshots with it.

    Attributes
    ----------
    wanted
        Topics that somebody subscribes to: what is published before is heard by nobody.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints) -> None:
        self._pub = make_socket(context, zmq.XPUB, connect=endpoints.publishers)
        self._router = make_socket(context, zmq.ROUTER, bind=endpoints.feed)
        self._decode: Decoder[FeedRequest] = Decoder(FeedRequest)
        self.wanted: set[bytes] = set()
        self.answers = True
        self.epoch = 1
        self.seq = 0
        self.tick_seq = self.trades_seq = self.book_seq = 0
        self.stale = ""
        self.spec = market_spec()
        self.bars: list[Bar] = []
        self.context: list[Bar] = []
        self.tick: Tick | None = None
        self.asked = 0
        self.joined: list[str] = []
        self.acknowledged: list[Acknowledge] = []
        self.publish_bars([100.0] * 5)

    def publish_bars(self, closes: list[float], *, lose: bool = False, lockstep: bool = False) -> None:
        """Close a bar for each price; `lose` keeps them off the wire."""
        for close in closes:
            self.seq += 1
            minute = len(self.bars) + 1
            bar = Bar(
                SYMBOL, self.epoch, self.seq, minute * 60_000, close, close, close, close, 1.0, False, boot_ns()
            )
            self.bars.append(bar)
            if not lose:
                self.send(BAR, _lockstep(bar, lockstep))

    def publish_context(self, closes: list[float], *, lose: bool = False) -> None:
        """Close a bar of the context symbol for each price; it has as many minutes as the own symbol had then."""
        for close in closes:
            minute, seq = len(self.context) + 1, len(self.context) + 1
            bar = Bar(CONTEXT, self.epoch, seq, minute * 60_000, *[close] * 4, 1.0, buy_volume=close / 2)
            self.context.append(bar)
            if not lose:
                self._pub.send(frame(BAR, CONTEXT, bar))

    def publish_altdata(self, value: float, asset: str = "") -> None:
        """Publish a value of alternative data."""
        self._pub.send(frame(ALTDATA, asset, AltData(asset, "mood", value, "test", 1, 2, 3)))

    def publish_tick(self, price: float = 100.0, *, skip: int = 0, lockstep: bool = False) -> None:
        """Publish a tick after leaving out `skip` of them."""
        self.tick_seq += 1 + skip
        event_ms = (len(self.bars) + 1) * 60_000 + self.tick_seq
        self.tick = Tick(
            SYMBOL, self.epoch, self.tick_seq, self.seq, event_ms, boot_ns(), price - 0.01, price + 0.01, price
        )
        self.send(TICK, _lockstep(self.tick, lockstep))

    def publish_event(self, event: MarketEvent) -> None:
        """Publish a market event that carries the next number."""
        self.send(MARKET, event)

    def go_stale(self, reason: str) -> None:
        """Say that prices cannot be trusted."""
        self.seq += 1
        self.stale = reason
        self.publish_event(MarketStale(SYMBOL, self.epoch, self.seq, 0, reason))

    def recover(self) -> None:
        """Say that they can again."""
        self.seq += 1
        self.stale = ""
        self.publish_event(MarketRecovered(SYMBOL, self.epoch, self.seq, 0))

    def change_rules(self, **changes: Any) -> None:
        """Publish new rules of the market."""
        self.seq += 1
        self.spec = msgspec.structs.replace(self.spec, **changes)
        self.publish_event(SpecChanged(SYMBOL, self.epoch, self.seq, 0, self.spec))

    def correct(self, index: int, close: float, *, lose: bool = False) -> None:
        """Put another bar in the place of one that was published; `lose` keeps that off the wire."""
        self.seq += 1
        right = msgspec.structs.replace(self.bars[index], open=close, high=close, low=close, close=close)
        self.bars[index] = right
        if not lose:
            event = BarCorrected(SYMBOL, self.epoch, self.seq, 0, right.open_ms, *[close] * 4, right.volume)
            self.publish_event(event)

    def publish_trades(self, ids: list[int], price: float = 100.0, *, lose: bool = False) -> None:
        """Publish trades of one frame; `lose` keeps them off the wire."""
        self.trades_seq += 1
        trades = [Trade(str(number), 0, "buy", price, 1.0) for number in ids]
        message = Trades(SYMBOL, self.epoch, self.trades_seq, 0, boot_ns(), trades)
        if not lose:
            self.send(TRADES, message)

    def publish_book(self) -> None:
        """Publish an order book."""
        self.book_seq += 1
        self.send(BOOK, Book(SYMBOL, self.epoch, self.book_seq, 0, boot_ns(), [(99.0, 1.0)], [(101.0, 1.0)]))

    def send(self, prefix: bytes, message: Any) -> None:
        self._pub.send(frame(prefix, SYMBOL, message))

    def send_junk(self) -> None:
        for junk in (b"\xc1", b"", encode(Hello("x", 1, 1)), b"\x93\x01"):
            self._pub.send(TICK + SYMBOL.encode() + b"\0" + junk)
            self._pub.send(BAR + SYMBOL.encode() + b"\0" + junk)

    def restart(self) -> None:
        """What a new feed process does: a new epoch, all numbers anew, the same bars."""
        self.epoch += 1
        self.seq = self.tick_seq = self.trades_seq = self.book_seq = 0

    def pump(self) -> None:
        for (change,) in drain(self._pub):
            (self.wanted.add if change[0] else self.wanted.discard)(change[1:])
        for identity, body in drain(self._router):
            request = self._decode(body)
            match request:
                case SnapshotRequest(request_id, symbol, bars):
                    self.asked += 1
                    if symbol == CONTEXT:
                        head = request_id, symbol, self.epoch, len(self.context)
                        known = Snapshot(*head, self.spec, self.context[-bars:], [])
                        self._router.send_multipart([identity, encode(known)])
                    elif self.answers:
                        answer = Snapshot(
                            request_id,
                            symbol,
                            self.epoch,
                            self.seq,
                            self.spec,
                            self.bars[-bars:],
                            [],
                            self.tick,
                            self.stale,
                        )
                        self._router.send_multipart([identity, encode(answer)])
                case JoinLockstep(participant):
                    self.joined.append(participant)
                case Acknowledge():
                    self.acknowledged.append(request)


class Risk:
    """Grants one coin to whoever asks, or refuses, or says nothing."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints) -> None:
        self._router = make_socket(context, zmq.ROUTER, bind=endpoints.risk)
        self._decode: Decoder[RiskRequest] = Decoder(RiskRequest)
        self.mode = "grant"
        self.requests: list[RiskRequest] = []

    def pump(self) -> None:
        for identity, body in drain(self._router):
            request = self._decode(body)
            self.requests.append(request)
            if self.mode == "grant":
                expires_ns = boot_ns() + 30_000_000_000
                answer: Any = Grant(
                    request.request_id, request.client_id, SYMBOL, request.side, Decimal(1), 1, expires_ns
                )
            elif self.mode == "refuse":
                answer = RiskRefused(request.request_id, request.client_id, SYMBOL, "limit reached")
            else:
                continue
            self._router.send_multipart([identity, encode(answer)])


class Broker:
    """Journals what comes, fills it, and never forgets; as slow or deaf as a test wants it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints) -> None:
        self._router = make_socket(context, zmq.ROUTER, bind=endpoints.broker)
        self._decode: Decoder[BrokerRequest] = Decoder(BrokerRequest)
        self.mode = "fill"  # or "accept": an order rests, "deaf": what comes is lost, "mute": events are lost
        self.received: list[Intent] = []
        self.lost: list[Intent] = []
        self.cancelled: list[str] = []
        self.events: list[OrderEvent] = []
        self.reconciled = 0
        self.refused_for_ever: set[str] = set()
        self.market_ms = 0  # time of the market that events tell; 0: their number
        self.position = flat(SYMBOL)
        self._resting: dict[str, Intent] = {}
        self._identity = NAME.encode()

    def pump(self) -> None:
        for identity, body in drain(self._router):
            request = self._decode(body)
            if self.mode == "deaf":
                if isinstance(request, SubmitOrder):
                    self.lost.append(request.intent)
                continue
            match request:
                case SubmitOrder(intent):
                    self._submit(intent)
                case CancelOrder(client_id=client_id):
                    self.cancelled.append(client_id)
                case ReconcileRequest():
                    self._reconcile(identity, request)

    def fill_resting(self) -> None:
        """Fill everything that rests."""
        for intent in list(self._resting.values()):
            self.fill(intent)

    def fill(self, intent: Intent) -> None:
        del self._resting[intent.client_id]
        fill = Fill(f"f{len(self.events)}", intent.quantity, Decimal(100), Decimal("0.1"), "USDT", "taker")
        self.position = after_fill(self.position, intent.side, fill)
        self._tell(OrderFilled(*self._stamp(intent.client_id), fill))

    def fire_stop(self) -> None:
        """Close the position by an order that no engine sent."""
        quantity = self.position.quantity
        stop = Intent(f"stop-{len(self.events)}", SYMBOL, "sell", "stop", quantity, "stop", 0, reduce_only=True)
        self._resting[stop.client_id] = stop
        self._tell(OrderSubmitted(*self._stamp(stop.client_id), stop))
        self.fill(stop)

    def _submit(self, intent: Intent) -> None:
        self.received.append(intent)
        if intent.client_id in self.refused_for_ever or any(e.client_id == intent.client_id for e in self.events):
            return
        self._resting[intent.client_id] = intent
        self._tell(OrderSubmitted(*self._stamp(intent.client_id), intent))
        self._tell(OrderAccepted(*self._stamp(intent.client_id), "x"))
        if self.mode == "fill":
            self.fill(intent)

    def _reconcile(self, identity: bytes, request: ReconcileRequest) -> None:
        self.reconciled += 1
        known = {event.client_id for event in self.events}
        unknown = [client_id for client_id in request.open_ids if client_id not in known]
        self.refused_for_ever.update(unknown)
        answer = Reconciled(
            request.request_id,
            SYMBOL,
            len(self.events),
            self.events[request.since :],
            self.position,
            list(self._resting.values()),
            unknown,
        )
        self._router.send_multipart([identity, encode(answer)])

    def _stamp(self, client_id: str) -> tuple[int, int, str, str, int, int]:
        number = len(self.events) + 1
        return (number, number, SYMBOL, client_id, self.market_ms or number, number)

    def _tell(self, event: OrderEvent) -> None:
        self.events.append(event)
        if self.mode != "mute":
            self._router.send_multipart([self._identity, encode(OrderEvents([event]))])


def _lockstep(message: Any, lockstep: bool) -> Any:
    return msgspec.structs.replace(message, lockstep=lockstep)
