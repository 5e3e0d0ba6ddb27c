"""Engine, broker and risk as in production, but in one process: time and every message are the test's."""

from __future__ import annotations

import random
from collections import Counter, deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    Bar,
    BrokerReply,
    BrokerRequest,
    Grant,
    MarketSpec,
    OrderEvents,
    Position,
    RiskRequest,
    Tick,
)
from levibot.config import EngineConfig
from levibot.config_execution import PaperConfig
from levibot.config_risk import ProtectionsConfig, RiskConfig
from levibot.engine import inputs
from levibot.engine.commands import AskRisk, CancelIntent, SendIntent
from levibot.engine.core import DecisionCore
from levibot.execution import broker as broker_module
from levibot.execution import broker_client
from levibot.execution.books import Books
from levibot.execution.broker import Broker
from levibot.execution.broker_client import BrokerClient, Recovered
from levibot.execution.grants import GrantBook
from levibot.execution.ledger import Ledger
from levibot.execution.paper import PaperExchange
from levibot.risk.manager import RiskManager
from levibot.spec import engine_name
from levibot.strategies.base import Signal
from tests.execution.examples import D

SWAP = "BTC/USDT:USDT"
SECOND = 1_000_000_000
_NAME = engine_name(SWAP).encode()
_RULES = MarketSpec(SWAP, "BTC", "USDT", D("0.001"), D("0.01"), D("0.001"), D(5), D("0.0002"), D("0.0005"), True)


class _Wire:
    """Stands in for a DEALER: what is sent waits until the test carries it over, or loses it."""

    def __init__(self) -> None:
        self.sent: deque[bytes] = deque()
        self.came: deque[bytes] = deque()

    def send(self, body: bytes, _flags: int) -> None:
        self.sent.append(body)

    def recv_multipart(self, _flags: int) -> list[bytes]:
        if not self.came:
            raise zmq.Again
        return [self.came.popleft()]


# A random walk would otherwise end most runs early.
_NO_STOPS = RiskConfig(
    daily_loss=0.9,
    symbol_daily_loss=0.9,
    orders_per_minute=10_000,
    protections=ProtectionsConfig(cooldown_minutes=0, stop_guard_count=0, max_drawdown=0, low_profit_trades=0),
)


class Chain:
    """What happens to one symbol, with everything that can go wrong between three processes."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (broker_module, broker_client):
            monkeypatch.setattr(module, "boot_ns", lambda: self.now_ns)
        monkeypatch.setattr(broker_client, "make_socket", lambda *_, **__: self.wire)
        self.random = random.Random(seed)
        self.folder = folder
        self.now_ns = 1_000 * SECOND
        self.lossy = self.paused = False
        self.signal: Signal | None = None
        self.warm_up_bars = 0
        self.sent: Counter[str] = Counter()
        self._price, self._tick, self._bar, self._epoch, self._incarnation = 100.0, 0, 10, 0, 0
        self._questions: deque[RiskRequest] = deque()
        self._decode: Decoder[BrokerRequest] = Decoder(BrokerRequest)
        self.books: Books | None = None
        self.ledger: Ledger | None = None
        self.restart_supervisor()

    # ------------------------------------------------------------------ as a strategy

    def warm_up(self, bars: Any) -> None:
        """Nothing to learn."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        """What the test wants."""
        return self.signal

    # ------------------------------------------------------------------ faults

    def restart_supervisor(self) -> None:
        """With it everything dies."""
        self._epoch += 1
        self._key = b"secret %d" % self._epoch
        self.risk = RiskManager(_NO_STOPS, self._key, self._epoch, self.folder / "risk.json")
        self._questions.clear()
        self.restart_broker()
        self.restart_engine()

    def restart_broker(self) -> None:
        """Nothing remains but what is on disk."""
        if self.books is not None:
            self.books.close()
        config = PaperConfig(cash=D(10_000))
        self.books = Books(self.folder / "broker.sqlite", "test", "USDT", config.cash)
        exchange = PaperExchange(self.books, config, GrantBook(self._key, self._epoch), lambda: self.now_ns)
        self.broker = Broker(self.books, exchange, self._reply, (SWAP,), pytest.fail)
        self.broker.set_market(_RULES)
        self.risk.lost_broker()
        self._account_known, self._asked_ns = False, 0

    def restart_engine(self) -> None:
        """Nothing remains but the ledger."""
        if self.ledger is not None:
            self.ledger.close()
        self._incarnation += 1
        self.ledger = Ledger.open(self.folder / "ledger.sqlite", SWAP, "test")
        self.wire = _Wire()
        self.client = BrokerClient(
            zmq.Context.instance(),
            "",
            symbol=SWAP,
            name=_NAME.decode(),
            ledger=self.ledger,
            refuse=pytest.fail,
            fail=pytest.fail,
        )
        first = self._incarnation << 32
        config = EngineConfig()
        self.core = DecisionCore(
            SWAP, config, self, self.ledger.new_client_id, first_request_id=first, paused=self.paused
        )
        history = [self._make_bar(number) for number in range(self._bar - 5, self._bar + 1)]
        self._handle(inputs.HistoryLoaded(self.now_ns, _RULES, history))

    def pause(self, paused: bool) -> None:
        """The operator's wish."""
        self.paused = paused
        self._handle((inputs.Paused if paused else inputs.Resumed)(self.now_ns))

    # ------------------------------------------------------------------ time

    def turn(self, *, priced: bool = True) -> None:
        """A tenth of a second, with a price or without; every third price closes a bar."""
        self.now_ns += SECOND // 10
        if priced:
            self._publish()
        self._exchange()
        self.broker.on_timer()
        self.risk.refresh(self.now_ns)
        if self.now_ns >= self._asked_ns + (5 if self._account_known else 1) * SECOND:
            self._asked_ns = self.now_ns
            if self._arrives():
                since = self.risk.portfolio.seq if self._account_known else None
                self.broker.handle([(b"supervisor", AccountRequest(0, since))])
        self._exchange()
        self._handle(inputs.TimerFired(self.now_ns))

    def _publish(self) -> None:
        self._tick += 1
        price = self._price = max(20.0, round(self._price * (1 + self.random.gauss(0, 0.004)), 2))
        event_ms = self._bar * 60_000 + self._tick
        tick = Tick(SWAP, 1, self._tick, 0, event_ms, self.now_ns, price - 0.01, price + 0.01, price)
        late = self.random.random() < 0.3  # the broker hears of it after the engine has acted on it
        if not late:
            self.broker.on_tick(tick)
        self.risk.on_ticks([tick], self.now_ns)
        self._handle(inputs.TickKept(self.now_ns, tick))
        if self._tick % 3 == 0:
            self._bar += 1
            self._handle(inputs.BarClosed(self.now_ns, self._make_bar(self._bar)))
        if late:
            self._exchange()
            self.broker.on_tick(tick)

    def _make_bar(self, number: int) -> Bar:
        price = self._price
        return Bar(SWAP, 1, number, number * 60_000, price, price, price, price, 1.0, False, self.now_ns)

    # ------------------------------------------------------------------ messages

    def _arrives(self) -> bool:
        return not self.lossy or self.random.random() < 0.5

    def _reply(self, identity: bytes, reply: BrokerReply) -> bool:
        if not self._arrives():
            return True
        if identity == _NAME:
            self.wire.came.append(encode(reply))
        elif isinstance(reply, AccountSnapshot):
            self._account_known = True
            self.risk.on_account_snapshot(reply, self.now_ns)
        elif isinstance(reply, OrderEvents) and self._account_known:
            self._account_known = self.risk.on_order_events(reply.events, self.now_ns)
        return True

    def _exchange(self) -> None:
        self.client.ask(self.now_ns, (3 if self.core.in_flight else 10) * SECOND)
        while self.wire.sent:
            request = self._decode(self.wire.sent.popleft())
            if self._arrives():
                self.broker.handle([(_NAME, request)])
        for message in self.client.drain():
            assert self.ledger is not None
            if isinstance(message, Recovered):
                drift = str(message.outcome.drift or message.outcome.broker_behind or "")
                orders = [
                    inputs.OpenOrder(client_id, intent.role, intent.side)
                    for client_id, (intent, _) in self.ledger.open_orders().items()
                ]
                self._handle(inputs.PositionReconciled(self.now_ns, self.ledger.position, orders, drift))
            else:
                self._handle(inputs.OrderChanged(self.now_ns, message.event, message.position))
        while self._questions:
            answer = self.risk.decide(self._questions.popleft(), self.now_ns)
            if self._arrives():
                granted = isinstance(answer, Grant)
                kind: Any = inputs.GrantReceived if granted else inputs.RefusalReceived
                self._handle(kind(self.now_ns, answer))

    def _handle(self, item: inputs.Input) -> None:
        for command in self.core.handle(item):
            if isinstance(command, AskRisk) and self._arrives():
                self._questions.append(command.request)
            elif isinstance(command, SendIntent):
                self.sent[command.intent.client_id] += 1
                self.client.submit(command.intent)
            elif isinstance(command, CancelIntent):
                self.client.cancel(command.client_id)

    # ------------------------------------------------------------------ what must hold

    @property
    def held(self) -> Decimal:
        """Position of the account."""
        assert self.books is not None
        return self.books.position(SWAP).quantity

    def check(self) -> None:
        """When all is quiet, everybody agrees, and what is held is protected."""
        assert self.books is not None
        assert self.ledger is not None
        position = self.books.position(SWAP)
        assert self.ledger.position == position
        assert self.ledger.irregular == 0
        assert set(self.ledger.open_ids()) == set(self.books.open)
        assert self.core.settled
        known = self.risk.portfolio.positions.get(SWAP)
        assert (known.quantity if known else 0) == position.quantity
        assert self.risk.portfolio.cash == self.books.cash
        assert self.risk.summary(self.now_ns)["grants_open"] == 0
        stops = [order.remaining for order in self.books.open.values() if order.intent.role == "stop"]
        assert sum(stops) == abs(position.quantity)
        assert abs(position.quantity) * position.entry_price < 2_100, "the cap on a position, and slippage"
        assert set(self.sent.values()) <= {1}

    def close(self) -> None:
        """Close both databases."""
        assert self.books is not None
        assert self.ledger is not None
        self.books.close()
        self.ledger.close()
