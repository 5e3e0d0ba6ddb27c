"""All that an engine process talks to, on real sockets and under a test's control."""

from __future__ import annotations

import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import multiprocess
import psutil
import zmq

import workers.entry
from levibot.bus.codec import ALTDATA, BAR, BOOK, MARKET, TICK, TRADES, Decoder, encode, frame
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    Acknowledge,
    Acknowledged,
    AltData,
    Bar,
    BarCorrected,
    Book,
    BrokerRequest,
    CancelOrder,
    Command,
    EngineReport,
    FeedRequest,
    Fill,
    Grant,
    Heartbeat,
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
    Stop,
    SubmitOrder,
    Tick,
    Trade,
    Trades,
    WorkerMessage,
)
from levibot.bus.sockets import drain, ipc, make_socket
from levibot.clock import boot_ns
from levibot.config import EngineConfig, LoggingConfig
from levibot.execution.position import after_fill, flat
from levibot.spec import Endpoints, WorkerSpec, engine_name
from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from tests.engine.scene import SYMBOL, market_spec

NAME = engine_name(SYMBOL)
STRATEGY = '''
from levibot.strategies.base import Signal

class ByPrice:
    """Long above 100, flat below, no opinion at 100."""
    warm_up_bars = 2

    def warm_up(self, bars):
        pass

    def on_bar(self, bar, position):
        return self._judge(bar.close)

    def _judge(self, price):
        if price == 13:
            raise RuntimeError("unlucky price")
        if price == 17:
            while True:
                pass
        return None if price == 100 else Signal("long" if price > 100 else "flat", 0.6, 0.5)

class ByTick(ByPrice):
    def on_tick(self, tick, position):
        return self._judge(tick.last)

class ByFlow(ByPrice):
    """Long after a trade above 100; its reason tells what it was given."""
    def __init__(self):
        self.told = []
        self.trades = []

    def on_trades(self, trades, position):
        self.trades += [int(trade.trade_id) for trade in trades.trades]
        once = self.trades == sorted(set(self.trades))
        self.told.append(f"{len(self.trades)} trades {'each once' if once else 'wrong'}")
        price = trades.trades[-1].price
        return Signal("long" if price > 100 else "flat", reason=" ".join(self.told[-4:]))

    def on_book(self, book, position):
        self.told.append(f"b{book.seq}")
        return None

    def on_correction(self, bar):
        self.told.append(f"c{bar.open_ms // 60000}={bar.close:g}")

class ByContext(ByPrice):
    """Long when the context of the minute before rose and the mood is good; its reason tells what it knows."""
    def __init__(self):
        self.context = {}
        self.mood = None

    def on_context(self, bar):
        self.context[bar.open_ms] = bar

    def on_altdata(self, data):
        self.mood = data.value

    def on_bar(self, bar, position):
        before = self.context.get(bar.open_ms - 60000)
        rose = before is not None and before.close > 100
        known = "none" if before is None else f"{before.close:g} bought {before.buy_volume:g} of {before.trades:g}"
        return Signal("long" if rose and self.mood else "flat", reason=f"{known} mood {self.mood}")
'''
CONTEXT = "BTC/EUR"


class Feed:
    """Publishes what it is told, and answers snapshots with it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints) -> None:
        self._pub = make_socket(context, zmq.PUB, connect=endpoints.publishers)
        self._router = make_socket(context, zmq.ROUTER, bind=endpoints.feed)
        self._decode: Decoder[FeedRequest] = Decoder(FeedRequest)
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
                expires_ns = boot_ns() + 2_000_000_000
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
        self.cancelled: list[str] = []
        self.events: list[OrderEvent] = []
        self.reconciled = 0
        self.refused_for_ever: set[str] = set()
        self.position = flat(SYMBOL)
        self._resting: dict[str, Intent] = {}
        self._identity = NAME.encode()

    def pump(self) -> None:
        for identity, body in drain(self._router):
            request = self._decode(body)
            if self.mode == "deaf":
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
        return (number, number, SYMBOL, client_id, number, number)

    def _tell(self, event: OrderEvent) -> None:
        self.events.append(event)
        if self.mode != "mute":
            self._router.send_multipart([self._identity, encode(OrderEvents([event]))])


class World:
    """An engine process and everything around it.

    Parameters
    ----------
    directory
        For state, logs and sockets; a short path.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        (directory / "user_strategy_of_test.py").write_text(STRATEGY)
        names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
        self.endpoints = Endpoints(**{name: ipc(directory / name) for name in names})
        self._leash = Leash(directory / "leash")
        self.spec = WorkerSpec(
            kind="engine",
            worker=NAME,
            incarnation=1,
            supervisor_epoch=1,
            instance="abcd",
            endpoints=self.endpoints,
            state_dir=directory / "state",
            log_dir=directory / "logs",
            heartbeat_interval=0.05,
            logging=LoggingConfig(level="debug"),
            symbols=(SYMBOL,),
            engine=EngineConfig.model_validate(
                {"strategy": "user_strategy_of_test:ByPrice", "cycle_interval": 0.05, **settings}
            ),
            config_dir=directory,
            leash=self._leash.path,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarder = Forwarder(self.endpoints.publishers, self.endpoints.subscribers)
        self.feed = Feed(self._context, self.endpoints)
        self.risk = Risk(self._context, self.endpoints)
        self.broker = Broker(self._context, self.endpoints)
        self._heartbeat = make_socket(self._context, zmq.PULL, bind=self.endpoints.heartbeat)
        self._control = make_socket(self._context, zmq.ROUTER, bind=self.endpoints.control)
        self._decode_beat: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._decode_answer: Decoder[Any] = Decoder(WorkerMessage)
        self.beat: Heartbeat | None = None
        self.acknowledged: list[int] = []
        self._command_id = 0
        self.process: Any = None

    def start(self, **changes: Any) -> None:
        """Start the engine process as the supervisor does."""
        self.beat = None
        self.spec = self.spec.model_copy(update={"incarnation": self.spec.incarnation + 1, **changes})
        context = multiprocess.get_context("forkserver")
        self.process = context.Process(target=workers.entry.run, args=(self.spec.model_dump_json(),))
        self.process.start()

    def start_ready(self, **changes: Any) -> None:
        self.start(**changes)
        self.until(lambda: self.beat is not None and self.beat.ready, "a ready engine")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(10)

    def stop(self) -> None:
        """Stop it in the polite way."""
        number = self.command(Stop)
        self.until(lambda: number in self.acknowledged, "the acknowledged stop")
        self.until(lambda: not self.process.is_alive(), "the end of the process")
        assert self.process.exitcode == 0

    def command(self, kind: Any) -> int:
        self._command_id += 1
        fields = (self._command_id, "test") if kind is Stop else (self._command_id,)
        message: Command = kind(*fields)
        self._control.send_multipart([NAME.encode(), encode(message)])
        return self._command_id

    def pump(self) -> None:
        """Let everybody read and answer."""
        self.feed.pump()
        self.risk.pump()
        self.broker.pump()
        for frames in drain(self._heartbeat):
            beat = self._decode_beat(frames[-1])
            if beat.incarnation == self.spec.incarnation:
                self.beat = beat
        for frames in drain(self._control):
            answer = self._decode_answer(frames[-1])
            if isinstance(answer, Acknowledged):
                self.acknowledged.append(answer.command_id)

    def until(self, condition: Any, what: str, *, seconds: float = 40.0) -> None:
        """Pump until `condition` holds."""

        def turn() -> bool:
            self.pump()
            return bool(condition())

        wait_for(turn, what, seconds=seconds, every=0.002)

    def decided(self) -> None:
        """Wait until the engine has dealt with every bar published so far."""
        newest = self.feed.bars[-1].open_ms
        self.until(lambda: self.beat and self.report.bar_ms == newest, "the newest bar in the report")

    @property
    def report(self) -> EngineReport:
        assert self.beat is not None
        assert isinstance(self.beat.report, EngineReport)
        return self.beat.report

    def records(self, event: str) -> list[dict[str, Any]]:
        """Log lines about `event`."""
        lines = [json.loads(line) for path in self.spec.log_dir.glob("*.jsonl") for line in path.open()]
        return [line for line in lines if line["event"] == event]

    def close(self) -> None:
        if self.process is not None and psutil.pid_exists(self.process.pid):
            self.kill()
        self._leash.close()
        self._forwarder.close()
        self._context.destroy(linger=0)


def _lockstep(message: Any, lockstep: bool) -> Any:
    return msgspec.structs.replace(message, lockstep=lockstep)
