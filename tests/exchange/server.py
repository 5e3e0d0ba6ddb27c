"""The exchange: one market, one dialect, and the two ports on which it listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from aiohttp import web

from tests.exchange import control
from tests.exchange.accounts import Account, Fill, Order
from tests.exchange.binance import Binance
from tests.exchange.bybit import Bybit
from tests.exchange.clock import ExchangeClock
from tests.exchange.dialect import Dialect
from tests.exchange.faults import Faults
from tests.exchange.kraken import Kraken
from tests.exchange.limits import WeightLimit
from tests.exchange.log import Log
from tests.exchange.market import Market
from tests.exchange.matching import Matching
from tests.exchange.mexc import Mexc
from tests.exchange.model import Frame, Kind, MarketEvent
from tests.exchange.okx import Okx
from tests.exchange.rest import Rest
from tests.exchange.settings import Settings, account
from tests.exchange.sockets import Connection, Hub
from tests.exchange.sources import make_source
from tests.exchange.websocket import accept

HOST = "127.0.0.1"
DIALECTS: dict[str, type[Dialect]] = {
    "binance": Binance,
    "mexc": Mexc,
    "bybit": Bybit,
    "okx": Okx,
    "kraken": Kraken,
}


class Exchange:
    """Everything, on the event loop that `start` runs on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Log(settings.log_path)
        self.faults = Faults(settings.faults)
        self.accounts: list[Account] = settings.accounts or [account(settings.dialect)]
        self.listen_keys: dict[str, Account] = {}
        source = make_source(settings)
        self.clock = ExchangeClock(
            settings.speed or 1.0,
            source.start_ms,
            settings.clock_offset_ms,
            serves_market_time=settings.serves_market_time,
        )
        self.market = Market(
            self.clock, source.instruments, self._publish, minutes_without_trades=source.minutes_without_trades
        )
        self.matching = Matching(self.market, self.accounts, self._tell_order, self._tell_balances)
        self.dialect: Dialect = DIALECTS[settings.dialect](self)
        self.limit = WeightLimit(settings.weight_limit or self.dialect.weight_limit, self.dialect.weight_window_s)
        self.hub = Hub(self.dialect.encode, self.faults, self.log)
        self.rest = Rest(self)
        self.source = source
        self.port = settings.port
        self.control_port = settings.control_port
        self._tasks: list[asyncio.Task[Any]] = []
        self._runners: list[web.AppRunner] = []
        self._site: web.SockSite | None = None
        self._gate = asyncio.Lock()

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runners = [
            web.AppRunner(app, access_log=None, shutdown_timeout=0.5),
            web.AppRunner(control.application(self), access_log=None, shutdown_timeout=0.5),
        ]
        for runner in self._runners:
            await runner.setup()
        await self._listen()
        control_socket = socket.create_server((HOST, self.control_port))
        self.control_port = control_socket.getsockname()[1]
        await web.SockSite(self._runners[1], control_socket).start()
        self.source.prepare(self.market, self.hub)
        self._tasks = [asyncio.create_task(self.source.run()), asyncio.create_task(self._beat())]

    async def _listen(self) -> None:
        listening = socket.create_server((HOST, self.port))
        self.port = listening.getsockname()[1]
        self._site = web.SockSite(self._runners[0], listening)
        await self._site.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for connection in list(self.hub.connections.values()):
            connection.abort()
        for runner in self._runners:
            await runner.cleanup()
        self.log.close()

    async def refuse(self, refused: bool) -> None:
        """Close the port and cut all connections, or open it again."""
        async with self._gate:
            if refused and self._site is not None:
                site, self._site = self._site, None
                await site.stop()
                self.drop_connections()
                self.rest.abort_all()
            elif not refused and self._site is None:
                await self._listen()

    def drop_connections(self) -> None:
        """Tear down every WebSocket."""
        for connection in list(self.hub.connections.values()):
            connection.abort()

    async def _beat(self) -> None:
        """Publish what the market gathered, and keep up what lasting faults demand."""
        beats = 0
        while True:
            await self.apply_lasting_faults()
            if beats % 2 == 0:
                self.market.publish_bars()
            if beats % 10 == 0:
                self.market.publish_tickers()
                self.hub.beat(self.dialect.heartbeat())
            beats += 1
            for symbol in self.market.symbols:  # one after the other, as the symbols of real exchanges come
                self.market.publish_book(symbol)
                await asyncio.sleep(self.settings.beat_s / len(self.market.symbols))

    async def apply_lasting_faults(self) -> None:
        skewed = self.faults.lasting("clock_skew")
        self.clock.skew_ms = skewed.skew_ms if skewed else 0
        for symbol, state in self.market.symbols.items():
            if self.faults.lasting("delisted", symbol):
                state.status = "delisted"
            elif self.faults.lasting("halted", symbol):
                state.status = "halted"
            else:
                state.status = "trading"
        await self.refuse(self.faults.lasting("refuse") is not None)

    # ------------------------------------------------------------------ wiring

    def _publish(self, kind: Kind, symbol: str, event: MarketEvent) -> None:
        state = self.market.symbols[symbol]
        if state.status == "trading" and self.source.publishes(kind, isinstance(event, Frame)):
            self.hub.publish(kind, symbol, event)

    def _tell_order(self, owner: Account, order: Order, fill: Fill | None) -> None:
        self.dialect.tell_order(owner, order, fill)

    def _tell_balances(self, owner: Account, assets: tuple[str, ...]) -> None:
        self.dialect.tell_balances(owner, assets)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket" and self.dialect.is_socket(request.path):
            return await accept(self, request)
        return await self.rest.handle(request)

    # ------------------------------------------------------------------ what the dialects ask for

    def subscription_fault(self, connection: Connection, stream: str) -> str:
        """Say ``done``, or what a fault makes of a subscription: ``refused`` or ``ignored``."""
        channel = self.dialect.channel(stream)
        symbol = channel[1] if channel else None
        fault = self.faults.strike(
            ("refuse_subscription", "ignore_subscription"), f"SUBSCRIBE {stream}", symbol, connection.opened_ns
        )
        if fault is None:
            return "done"
        self.log.event(connection.number, "fault", stream, fault.kind)
        return "refused" if fault.kind == "refuse_subscription" else "ignored"

    def subscribe(self, connection: Connection, stream: str) -> str:
        """Subscribe to a public stream, unless it is unknown, one too many, or a fault strikes."""
        verdict = self.subscription_fault(connection, stream)
        if verdict != "done":
            return verdict
        channel = self.dialect.channel(stream)
        if channel is None or (
            stream not in connection.streams and len(connection.streams) >= self.dialect.max_streams
        ):
            self.log.event(connection.number, "refused", stream)
            return "refused"
        self.hub.subscribe(connection, stream, channel)
        return "done"

    def pong_withheld(self, connection: Connection) -> bool:
        """Whether a fault keeps this pong back."""
        fault = self.faults.strike(("no_pong",), "PING", None, connection.opened_ns)
        self.log.event(connection.number, "ping" if fault is None else "fault", "", "no_pong" if fault else "")
        return fault is not None
