"""The risk manager's ears and mouth: prices and fills in, requests of engines answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import zmq

from levibot.bus import codec
from levibot.bus.codec import Decoder, FrameDecoder, encode
from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    Acknowledge,
    Bar,
    BarCorrected,
    BrokerReply,
    FeedReply,
    FlattenReport,
    JoinLockstep,
    MarketEvent,
    Message,
    NotReady,
    OrderEvents,
    RiskRefused,
    RiskRequest,
    SettleReport,
    Snapshot,
    Tick,
    TradingStateReport,
)
from levibot.bus.sockets import AsyncReader, drain, make_socket, send
from levibot.clock import boot_ns, boot_seconds
from levibot.errors import MalformedMessageError
from levibot.market.board import MarketBoard
from levibot.observability.logging import Logger
from levibot.risk.correlation import WINDOW
from levibot.risk.manager import RiskManager
from levibot.spec import Endpoints
from levibot.supervisor.broker_orders import BrokerOrders
from levibot.supervisor.channels import Malformed

PARTICIPANT = "risk"
_MARKS_INTERVAL = 0.05  # prices are looked at so often, and before each decision: cheaper than at every tick
_ACCOUNT_INTERVAL = 0.5
_CHECK_INTERVAL = 5.0  # a broker that opened its books again has forgotten who follows them
_REFRESH_INTERVAL = 1.0
_PATIENCE_NS = 1_000_000_000  # a request waits so long for the tick that the engine had seen


@dataclass
class _Parked:
    identity: bytes
    request: RiskRequest
    since_ns: int


class RiskDesk:
    """Sockets around a `RiskManager`.

    Parameters
    ----------
    loop, context
        Of the supervisor.
    endpoints
        ``risk`` is bound; feed, broker and market data are connected to.
    risk
        Decides.
    lockstep
        The feed waits for our acknowledgement of each message.
    log
        Of the supervisor.
    malformed
        Called for each message that does not decode.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        risk: RiskManager,
        *,
        lockstep: bool,
        log: Logger,
        malformed: Malformed,
    ) -> None:
        self._loop = loop
        self._risk = risk
        self._lockstep = lockstep
        self._log = log
        self._malformed = malformed
        self._decode_request: Decoder[RiskRequest] = Decoder(RiskRequest)
        self._decode_reply: Decoder[BrokerReply] = Decoder(BrokerReply)
        self._decode_frame = FrameDecoder()
        self._decode_feed: Decoder[FeedReply] = Decoder(FeedReply)
        self._board = MarketBoard(risk.set_market, history=WINDOW + 2)
        self.received: Counter[str] = Counter(risk=0, account=0, market=0)  # messages by channel
        self._parked: list[_Parked] = []
        self._latest: dict[str, Tick] = {}
        self._account_known = False
        self.on_account: Callable[[], None] = lambda: None  # called when positions may have changed
        self._feed_epoch: int | None = None
        self.orders = BrokerOrders(risk.stops, self._tell_broker, log)
        self.turned_at = boot_seconds()
        self._requests = make_socket(context, zmq.ROUTER, bind=endpoints.risk)
        self._marks = make_socket(context, zmq.SUB, connect=endpoints.subscribers)
        self._broker = make_socket(context, zmq.DEALER, connect=endpoints.broker, identity=b"supervisor")
        self._feed = make_socket(context, zmq.DEALER, connect=endpoints.feed, identity=PARTICIPANT.encode())
        for prefix in (codec.TICK, codec.BAR, codec.MARKET):
            self._marks.setsockopt(zmq.SUBSCRIBE, prefix)
        self._readers = [
            AsyncReader(loop, self._requests, self._on_request),
            AsyncReader(loop, self._broker, self._on_reply),
            AsyncReader(loop, self._feed, self._on_snapshot),
        ]
        if lockstep:
            self._readers.append(AsyncReader(loop, self._marks, self._on_frame))

    def market_seen(self, symbol: str) -> float | None:
        """When the newest price of `symbol` was received, in seconds of CLOCK_BOOTTIME."""
        tick = self._latest.get(symbol)
        return None if tick is None else tick.received_ns / 1e9

    @property
    def market_ms(self) -> int | None:
        """Event time of the newest price of any symbol."""
        return max((tick.event_ms for tick in self._latest.values()), default=None)

    def broker_started(self) -> None:
        """A new broker process: what it knows counts, not what we remember."""
        self._risk.lost_broker()
        self._account_known = False
        self._ask_account()
        self.orders.broker_started()

    async def run(self) -> None:
        """Look at prices, ask for the account until it is known, and then for what was missed, for ever."""
        refreshed = asked = 0.0
        while True:
            await asyncio.sleep(_MARKS_INTERVAL)
            now = self._loop.time()
            self.turned_at = boot_seconds()
            if not self._lockstep:
                self._read_marks()
            self._answer_parked()
            self._ask_markets()
            self.orders.turn()
            if now - refreshed > _REFRESH_INTERVAL:
                refreshed = now
                self._risk.refresh(boot_ns())
                self._risk.store_if_due(boot_ns())
            if now - asked > (_CHECK_INTERVAL if self._account_known else _ACCOUNT_INTERVAL):
                asked = now
                self._ask_account()

    def close(self) -> None:
        """Stop reading and free the endpoint."""
        for reader in self._readers:
            reader.close()
        for socket in (self._requests, self._marks, self._broker, self._feed):
            socket.close(0)

    # ------------------------------------------------------------------ requests

    def _on_request(self, frames: list[bytes]) -> None:
        self.received["risk"] += 1
        try:
            request = self._decode_request(frames[-1])
        except MalformedMessageError as error:
            self._malformed("risk", error)
            return
        self._parked.append(_Parked(frames[0], request, boot_ns()))
        if not self._lockstep:
            self._read_marks()
        self._answer_parked()

    def _answer_parked(self) -> None:
        """Answer whom we can: nobody is judged by a price older than the one that it acts on."""
        if not self._parked:
            return
        for frames in drain(self._broker):  # what was filled before the request counts for it
            self._on_reply(frames)
        now = boot_ns()
        waiting, self._parked = self._parked, []
        for parked in waiting:
            seen = self._has_seen(parked.request)
            if not seen and now - parked.since_ns < _PATIENCE_NS:
                self._parked.append(parked)
                continue
            if seen:
                self._answer(parked, self._risk.decide(parked.request, now))
            else:
                request = parked.request
                reason = "no price: risk has not received the market data that the engine acts on"
                refusal = RiskRefused(request.request_id, request.client_id, request.symbol, reason)
                self._answer(parked, refusal)

    def _has_seen(self, request: RiskRequest) -> bool:
        return self._risk.has_seen(request.symbol, request.market_epoch, request.market_seq)

    def _answer(self, parked: _Parked, answer: Message) -> None:
        if isinstance(answer, RiskRefused):
            self._log.info("risk_refused", symbol=answer.symbol, reason=answer.reason)
        send(self._requests, parked.identity, encode(answer))
        self._readers[0].poke()

    # ------------------------------------------------------------------ prices

    def _read_marks(self) -> None:
        """Take all bars and events, and the newest price of each symbol: those in between are of no use here."""
        newest: dict[str, Tick] = {}
        for frames in drain(self._marks, limit=10_000):
            message = self._decoded(frames)
            if isinstance(message, Tick):
                newest[message.symbol] = message
            elif message is not None:
                self._hear(message)
        if newest:
            self._take(list(newest.values()))

    def _hear(self, message: Bar | MarketEvent) -> None:
        if isinstance(message, Bar):
            self._risk.on_bars([message])
            return
        if isinstance(message, BarCorrected):
            self._risk.on_bars([message.bar])
        self._board.heed(message)

    def _on_frame(self, frames: list[bytes]) -> None:
        """Lockstep: every message counts, in order, and is acknowledged when dealt with."""
        message = self._decoded(frames)
        if message is None:
            return
        if message.epoch != self._feed_epoch:  # a new feed process, which does not know yet that we take part
            self._feed_epoch = message.epoch
            send(self._feed, encode(JoinLockstep(PARTICIPANT, [])))
        if isinstance(message, Tick):
            self._take([message])
            self._answer_parked()
        else:
            self._hear(message)
        if message.lockstep:
            send(self._feed, encode(Acknowledge(PARTICIPANT, message.symbol, _kind(message), message.seq)))

    def _take(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            self._latest[tick.symbol] = tick
        self._risk.on_ticks(ticks, boot_ns())

    def _ask_markets(self) -> None:
        """A market may have been halted, or stale, before we heard of it."""
        for request in self._board.ask(self._board.symbols | self._latest.keys(), boot_ns()):
            send(self._feed, encode(request))
            self._readers[2].poke()

    def _on_snapshot(self, frames: list[bytes]) -> None:
        try:
            reply = self._decode_feed(frames[-1])
        except MalformedMessageError as error:
            self._malformed("feed", error)
            return
        self._board.learn(reply)
        if isinstance(reply, Snapshot):
            self._risk.on_bars(reply.bars)

    def _decoded(self, frames: list[bytes]) -> Tick | Bar | MarketEvent | None:
        self.received["market"] += 1
        try:
            return self._decode_frame(frames[0])
        except MalformedMessageError as error:
            self._malformed("market", error)
            return None

    # ------------------------------------------------------------------ fills

    def _ask_account(self) -> None:
        """Ask for what happened since we heard last; if that is not all, for the whole account after it."""
        if self._risk.followed_seq is not None:
            self._tell_broker(AccountRequest(0, self._risk.followed_seq))
        if not self._account_known:
            self._tell_broker(AccountRequest(0, None))

    def _tell_broker(self, message: Message) -> None:
        send(self._broker, encode(message))
        self._readers[1].poke()

    def _on_reply(self, frames: list[bytes]) -> None:
        self.received["account"] += 1
        try:
            reply = self._decode_reply(frames[-1])
        except MalformedMessageError as error:
            self._malformed("broker", error)
            return
        if isinstance(reply, AccountSnapshot):
            self._account_known = True
            self._risk.on_account_snapshot(reply, boot_ns())
            self._log.info("account_known", cash=str(reply.cash), positions=len(reply.positions), seq=reply.seq)
            self.on_account()
        elif isinstance(reply, OrderEvents):
            self._on_events(reply)
        elif isinstance(reply, TradingStateReport):
            self.orders.on_trading_state(reply)
        elif isinstance(reply, FlattenReport):
            self.orders.on_flatten(reply)
        elif isinstance(reply, SettleReport):
            self.orders.on_settled(reply)
        elif isinstance(reply, NotReady):
            self.orders.on_not_ready(reply)
            self._log.debug("account_not_ready", reason=reply.reason)
            self._risk.lost_broker()
            self._account_known = False

    def _on_events(self, reply: OrderEvents) -> None:
        if not self._account_known:
            self._risk.on_missed_events(reply.events)
        elif not self._risk.on_order_events(reply.events, boot_ns()):
            self._log.warning("account_events_missing")
            self._account_known = False
            self._ask_account()
        elif reply.events:
            self.on_account()


def _kind(message: Tick | Bar | MarketEvent) -> Literal["tick", "bar", "market"]:
    if isinstance(message, Tick):
        return "tick"
    return "bar" if isinstance(message, Bar) else "market"
