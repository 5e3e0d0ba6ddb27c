"""The broker worker: the only process that holds the account. Wiring; the logic is `levibot.execution`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal

import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    Bar,
    Book,
    BrokerReply,
    BrokerReport,
    BrokerRequest,
    Command,
    MarketSpec,
    OrderEvent,
    SymbolsChanged,
    Tick,
    Trades,
)
from levibot.bus.sockets import AsyncReader, make_socket, send
from levibot.clock import boot_ns
from levibot.config_execution import PaperConfig
from levibot.errors import DataStoreError, MalformedMessageError
from levibot.execution.books import Books
from levibot.execution.broker import Broker
from levibot.execution.feed_link import FeedLink, MarketListener
from levibot.execution.gate import ClosedGate, check_form
from levibot.execution.grants import GrantBook
from levibot.execution.paper import PaperExchange
from levibot.execution.position import ZERO, quote_of
from levibot.execution.venue import Venue
from workers.async_worker import AsyncWorker
from workers.live_account import LiveAccount
from workers.runtime import Runtime

_TURN = 0.05  # seconds between two turns without anything to do
_LAST_MOMENT = 0.5  # seconds of the grace that are left for closing
_REOPEN_NS = 1_000_000_000


def main(runtime: Runtime) -> None:
    """Run the broker until it is told to stop."""
    asyncio.run(BrokerWorker(runtime).run())


class BrokerWorker(AsyncWorker):
    """Sockets, timers and the life of the database around one `Broker`.

    Parameters
    ----------
    runtime
        Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        spec = runtime.spec
        self._paper = spec.paper or PaperConfig()
        if spec.lockstep:  # an answer of later would belong to no step
            self._paper = self._paper.model_copy(update={"latency": 0.0})
        self._grants = GrantBook(bytes.fromhex(spec.grant_key), spec.supervisor_epoch)
        self._decode: Decoder[BrokerRequest] = Decoder(BrokerRequest)
        self._books: Books | None = None
        self._broker: Broker | None = None
        self._gate = ClosedGate(self._reply)
        self._wanted = spec.symbols
        self._markets: dict[str, tuple[MarketSpec, str]] = {}  # and why it is stale
        self._reopen_ns = 0
        self._arrived: list[tuple[bytes, BrokerRequest]] = []
        self._account: LiveAccount | None = None  # None: paper money
        if spec.live is not None:
            environ = {**os.environ, **spec.keys}
            self._account = LiveAccount(spec, environ, runtime.log, self._tell_hindrance, self._note_trouble)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        context, endpoints = self._runtime.context, self._runtime.spec.endpoints
        self._clients = make_socket(context, zmq.ROUTER, bind=endpoints.broker)
        self._clients.setsockopt(zmq.ROUTER_MANDATORY, 1)  # so that a follower that is gone is forgotten
        listener = MarketListener(self._on_tick, self._on_market, self._refuse, self._on_flow)
        lockstep = self._runtime.spec.lockstep
        self._link = FeedLink(context, endpoints.subscribers, endpoints.feed, lockstep=lockstep, listener=listener)
        readers = [
            AsyncReader(loop, self._clients, self._on_request),
            AsyncReader(loop, self._link.feed, self._link.on_reply),
            AsyncReader(loop, self._link.market, self._link.on_frame),
        ]
        if self._account is not None:
            self._account.open()
        try:
            while self._stop is None and not self._is_left_alone:
                self._keep_open()
                self._keep_informed()
                for reader in readers:
                    reader.poke()  # sending can have swallowed an edge
                await self._turn(_TURN)
            await self._leave()
        finally:
            for reader in readers:
                reader.close()
            self._link.close()
            if self._account is not None:
                await self._account.close()  # first: what it does until then is still told
            self._clients.close(0)
            if self._books is not None:
                self._books.close()

    @property
    def _is_left_alone(self) -> bool:
        dead_man = self._runtime.dead_man
        return dead_man is not None and dead_man.left_alone

    async def _leave(self) -> None:
        """Nobody supervises real money from now on: cancel what could increase a position; stops stay."""
        broker = self._broker
        if self._account is None or broker is None:
            return
        why = "the supervisor is gone" if self._is_left_alone else "the broker stops"
        self._runtime.log.warning("broker_leaves", reason=why)
        patience_s = self._runtime.spec.deadman_grace - _LAST_MOMENT
        deadline_ns = boot_ns() + int(patience_s * 1e9)
        while (left := broker.bar_entries("HALTED", why)) and self._broker is broker and boot_ns() < deadline_ns:
            await asyncio.sleep(_TURN)
        self._runtime.log.warning("broker_left", entries_left=left)

    def _on_command(self, command: Command) -> None:
        if isinstance(command, SymbolsChanged):
            self._wanted = tuple(command.symbols)
            if self._broker is not None:
                self._broker.wanted = set(command.symbols)

    def _on_turn(self) -> None:
        if self._broker is not None:
            self._broker.paused = self._runtime.status.paused
            self._guard(self._broker.on_timer)

    # ------------------------------------------------------------------ the database

    def _keep_open(self) -> None:
        now = boot_ns()
        if self._broker is not None or now < self._reopen_ns:
            return
        if self._account is not None and not self._account.is_open:
            return
        self._reopen_ns = now + _REOPEN_NS
        spec, status = self._runtime.spec, self._runtime.status
        quote = quote_of(self._wanted[0]) if self._wanted else "USDT"
        try:
            self._books = Books(spec.state_dir / "broker.sqlite", spec.instance, quote, self._cash)
        except DataStoreError as error:
            self._shut(error)
            return
        self._broker = Broker(
            self._books, self._make_venue(self._books), self._reply, self._wanted, self._note_failure
        )
        for market, stale in self._markets.values():
            self._broker.set_market(market, stale)
        status.ready, status.waiting_for = True, ""
        self._runtime.log.info("broker_recovered", seq=self._books.seq, open_orders=len(self._books.open))

    @property
    def _cash(self) -> Decimal:
        """What new books begin with; real money is counted when the exchange has told of it."""
        return self._paper.cash if self._account is None else ZERO

    def _make_venue(self, books: Books) -> Venue:
        if self._account is None:
            return PaperExchange(books, self._paper, self._grants)
        return self._account.make_venue(books, self._grants, self._publish, self._shut)

    def _publish(self, events: list[OrderEvent]) -> None:
        if self._broker is not None:
            self._broker.publish(events)

    def _tell_hindrance(self, reason: str) -> None:
        status = self._runtime.status
        status.waiting_for = reason
        if reason:
            status.last_error = reason[:500]
            self._log_limited("account_cannot_be_opened", reason)

    def _shut(self, error: DataStoreError) -> None:
        status = self._runtime.status
        if self._account is not None:
            self._account.give_up_venue()
        if self._books is not None:
            self._books.close()
        self._broker = self._books = None
        if self._gate.close(error):
            status.fail(self._gate.reason)
            self._runtime.log.error("broker_database_unusable", reason=self._gate.reason)
        status.ready, status.waiting_for = False, self._gate.reason

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DataStoreError as error:
            self._shut(error)

    def _note_failure(self, reason: str) -> None:
        self._runtime.status.last_error = reason[:500]
        self._log_limited("broker_database_refused", reason)

    def _note_trouble(self, reason: str) -> None:
        self._runtime.status.last_error = reason[:500]
        self._log_limited("live_trouble", reason)

    # ------------------------------------------------------------------ messages

    def _on_request(self, frames: list[bytes]) -> None:
        sender, body = frames[0], frames[-1]
        try:
            request = check_form(self._decode(body))
        except MalformedMessageError as error:
            self._refuse(f"from {sender[:40]!r}: {error}")
            return
        if not self._arrived:  # the rest of what waits is read first: fifteen engines decide at the same bar
            asyncio.get_running_loop().call_soon(self._handle_arrived)
        self._arrived.append((sender, request))

    def _handle_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        broker = self._broker
        if broker is not None:
            self._guard(lambda: broker.handle(arrived))
        else:
            for sender, request in arrived:
                self._gate.handle(sender, request)

    def _on_tick(self, tick: Tick) -> None:
        status, broker = self._runtime.status, self._broker
        status.market_ns = tick.received_ns
        if broker is not None:
            self._guard(lambda: broker.on_tick(tick))

    def _on_flow(self, item: Book | Trades | Bar) -> None:
        broker = self._broker
        if broker is not None:
            self._guard(lambda: broker.on_flow(item))

    def _on_market(self, market: MarketSpec, stale: str) -> None:
        broker = self._broker
        self._markets[market.symbol] = (market, stale)
        if broker is not None:
            self._guard(lambda: broker.set_market(market, stale))

    def _keep_informed(self) -> None:
        broker = self._broker
        if broker is None:
            return
        symbols = broker.symbols()
        self._link.subscribe(symbols)
        self._link.ask(symbols, boot_ns())
        if not self._markets:
            self._runtime.status.waiting_for = "feed"
        elif self._runtime.status.waiting_for == "feed":
            self._runtime.status.waiting_for = ""

    def _reply(self, identity: bytes, reply: BrokerReply) -> bool:
        self._runtime.status.decision_ns = boot_ns()
        try:
            return send(self._clients, identity, encode(reply))
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False

    def _report(self) -> BrokerReport:
        if self._broker is None:
            return BrokerReport(seq=0, open_orders=0, orders={}, refused_messages=self._refused)
        return self._broker.report(self._refused)
