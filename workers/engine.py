"""An engine process: the decision core of one symbol on its sockets, its ledger and its clock.

Start-up is recovery, and there is one path: fence, ledger, subscription, snapshot, reconciliation, ready.
"""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import msgspec
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    AltData,
    Bar,
    Book,
    EngineReport,
    Grant,
    Pause,
    Resume,
    RiskAnswer,
    Role,
    Snapshot,
    Stop,
    Tick,
    Trades,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns
from levibot.engine import inputs
from levibot.engine.commands import AskModel, AskRisk, CancelIntent, Command, Note, SendIntent
from levibot.engine.core import DecisionCore
from levibot.engine.recording import Recorder
from levibot.equity.document import day_opening
from levibot.errors import DataStoreError, MalformedMessageError
from levibot.execution.broker_client import BrokerClient, Recovered
from levibot.execution.ledger import Ledger
from levibot.market.context import ContextBar
from levibot.market.subscription import MarketSubscription
from levibot.strategies.base import (
    AltDataStrategy,
    BookStrategy,
    ContextStrategy,
    ModelStrategy,
    Strategy,
    TradeStrategy,
)
from workers.engine_ledger import LedgerPort
from workers.engine_models import ModelPort
from workers.engine_start import Preparation, make_strategy, open_recorder, report_decisions
from workers.runtime import Runtime

_HISTORY_BARS = 500  # enough for volatility; more would only cost memory
_CHECK_IN_FLIGHT_NS = 3_000_000_000
_CHECK_POSITION_NS = 10_000_000_000
_CHECK_FLAT_NS = 60_000_000_000


def main(runtime: Runtime) -> None:
    """Trade one symbol until told to stop."""
    preparation = Preparation(runtime)
    if not preparation.wait_for("fence", runtime.fence.acquire):
        return
    strategy = make_strategy(runtime)
    ledger = preparation.wait_for("ledger", preparation.open_ledger)
    if ledger is None:
        return
    try:
        engine = Engine(runtime, strategy, ledger)
        try:
            stop = engine.run()
        finally:
            engine.close()
    finally:
        ledger.close()
    runtime.acknowledge(stop)


class Engine:
    """Carries messages to the core, and commands from it.

    Parameters
    ----------
    runtime
        Of the worker.
    strategy
        Asked by the core.
    ledger
        Of the symbol, open.
    """

    def __init__(self, runtime: Runtime, strategy: Strategy, ledger: Ledger) -> None:
        spec = runtime.spec
        assert spec.engine is not None
        self._runtime = runtime
        self._status = runtime.status
        self._log = runtime.log
        self._ledger = ledger
        opening_of = partial(day_opening, spec.state_dir, spec.symbol)
        self._books = LedgerPort(ledger, opening_of, runtime.log, self._fail)
        self._cycle_ns = int(spec.engine.cycle_interval * 1e9)
        self._timer_ns = boot_ns() + self._cycle_ns
        self._hole_told = True  # the first snapshot is no repair
        self._ticks = self._trades = self._order_books = 0
        self._latency_us = 0
        self._refused = 0
        self._stop: Stop | None = None
        first_request_id = (spec.incarnation << 32) + 1
        self._recorder: Recorder | None = open_recorder(runtime, first_request_id)
        self._core = DecisionCore(
            spec.symbol,
            spec.engine,
            strategy,
            self._new_client_id,
            first_request_id=first_request_id,
            paused=runtime.status.paused,
        )
        identity = spec.worker.encode()
        self._market = MarketSubscription(
            runtime.context,
            spec.endpoints.subscribers,
            spec.endpoints.feed,
            symbol=spec.symbol,
            bars=max(_HISTORY_BARS, 2 * strategy.warm_up_bars),
            name=spec.worker,
            lockstep=spec.lockstep,
            trades=isinstance(strategy, TradeStrategy),
            books=isinstance(strategy, BookStrategy),
            altdata=isinstance(strategy, AltDataStrategy),
            context_symbol=spec.context if isinstance(strategy, ContextStrategy) else "",
            refuse=self._refuse,
        )
        self._broker = BrokerClient(
            runtime.context,
            spec.endpoints.broker,
            symbol=spec.symbol,
            name=spec.worker,
            ledger=ledger,
            refuse=self._refuse,
            fail=lambda problem: self._fail("order_event_not_stored", problem),
        )
        self._risk = make_socket(runtime.context, zmq.DEALER, connect=spec.endpoints.risk, identity=identity)
        self._decode_answer: Decoder[RiskAnswer] = Decoder(RiskAnswer)
        self._models = ModelPort(runtime, self._refuse) if isinstance(strategy, ModelStrategy) else None
        model_sockets = self._models.sockets if self._models is not None else []
        sockets = (self._market.sub, self._market.feed, self._broker.socket, self._risk, runtime.control)
        self._poller = zmq.Poller()
        for socket in (*sockets, *model_sockets):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> Stop:
        """Turn until a stop comes; return it, to be acknowledged when all is closed."""
        while self._stop is None:
            self._turn({socket for socket, _ in self._poller.poll(self._sleep_ms())})
        self._handle(inputs.Paused(boot_ns()))  # withdraws an entry that is on its way
        return self._stop

    def close(self) -> None:
        """Close sockets and recording."""
        self._market.close()
        self._broker.close()
        self._risk.close()
        if self._models is not None:
            self._models.close()
        if self._recorder is not None:
            self._recorder.close()

    # ------------------------------------------------------------------ one turn

    def _turn(self, ready: set[zmq.Socket[bytes]]) -> None:
        """See to sockets where something waits: to find the others empty would take half of a turn's time."""
        received = self._market.received + self._broker.received
        if self._runtime.control in ready:
            self._take_commands()
        if self._broker.socket in ready:
            self._take_orders()
        depth = self._take_answers() if self._risk in ready else 0
        depth += self._take_predictions(ready)
        if self._market.sub in ready or self._market.feed in ready:
            self._take_market()
        now_ns = boot_ns()
        deadline_ns = self._core.deadline_ns
        if now_ns >= self._timer_ns or (deadline_ns is not None and now_ns >= deadline_ns):
            self._timer_ns = now_ns + self._cycle_ns
            self._handle(inputs.TimerFired(now_ns))
        if self._status.ready and self._core.settled and self._market.settled:
            self._market.acknowledge()
        if self._recorder is not None:
            self._keep_recording(self._recorder)
        status = self._status
        status.turns += 1
        status.queue_depth = depth + self._market.received + self._broker.received - received
        status.dropped = self._market.dropped
        status.decision_ns = self._core.decided_ns
        self._look_ready()
        self._runtime.beat(self._report)

    def _sleep_ms(self) -> int:
        """Until the next thing that is due; also asks for what is missing."""
        now_ns = boot_ns()
        due = [self._timer_ns, self._broker.ask(now_ns, self._check_after_ns())]
        snapshot_ns = self._market.ask(now_ns)
        if snapshot_ns is not None:
            due.append(snapshot_ns)
        if self._core.deadline_ns is not None:
            due.append(self._core.deadline_ns)
        if self._models is not None and self._models.due_ns is not None:
            due.append(self._models.due_ns)
        seconds = min((min(due) - now_ns) / 1e9, self._runtime.seconds_to_beat())
        return max(0, math.ceil(seconds * 1000))

    def _check_after_ns(self) -> int:
        if self._core.in_flight:
            return _CHECK_IN_FLIGHT_NS
        return _CHECK_POSITION_NS if self._ledger.position.quantity else _CHECK_FLAT_NS

    def _look_ready(self) -> None:
        status = self._status
        if status.ready:
            return
        if self._market.stream.waiting:
            status.waiting_for = "feed"
        elif not self._books.reconciled:
            status.waiting_for = "broker"
        else:
            status.ready, status.waiting_for = True, ""
            self._log.info("engine_ready", position=str(self._ledger.position.quantity))

    # ------------------------------------------------------------------ what comes in

    def _take_commands(self) -> None:
        for command in self._runtime.commands():
            match command:
                case Stop():
                    self._stop = command
                    continue
                case Pause():
                    self._handle(inputs.Paused(boot_ns()))
                case Resume():
                    self._handle(inputs.Resumed(boot_ns()))
            self._runtime.acknowledge(command)

    def _take_market(self) -> None:
        stream = self._market.stream
        for message in self._market.drain():
            now_ns = boot_ns()
            if isinstance(message, Snapshot):
                self._hole_told = False
                history = (message.spec, message.bars, message.last_tick, message.stale)
                self._handle(inputs.HistoryLoaded(now_ns, *history))
                self._log.info("history_loaded", bars=len(message.bars), epoch=message.epoch, seq=message.seq)
                continue
            self._tell_hole(stream.waiting)
            if isinstance(message, Tick):
                self._ticks += 1
                self._status.market_ns = message.received_ns
                self._latency_us = max(0, (now_ns - message.received_ns) // 1000)
                self._handle(inputs.TickKept(now_ns, message))
            elif isinstance(message, Bar):
                self._status.market_ns = now_ns
                self._handle(inputs.BarClosed(now_ns, message))
            elif isinstance(message, Trades):
                self._trades += len(message.trades)
                self._handle(inputs.TradesReceived(now_ns, message))
            elif isinstance(message, Book):
                self._order_books += 1
                self._handle(inputs.BookReceived(now_ns, message))
            elif isinstance(message, ContextBar):
                self._handle(inputs.ContextBarClosed(now_ns, message.bar))
            elif isinstance(message, AltData):
                self._handle(inputs.AltDataReceived(now_ns, message))
            else:
                self._handle(inputs.MarketChanged(now_ns, message))
        self._tell_hole(stream.waiting)

    def _tell_hole(self, waiting: str) -> None:
        if waiting and not self._hole_told:
            self._hole_told = True
            self._handle(inputs.HoleFound(boot_ns(), waiting))

    def _take_answers(self) -> int:
        count = 0
        for frames in drain(self._risk):
            count += 1
            try:
                answer = self._decode_answer(frames[-1])
            except MalformedMessageError as error:
                self._refuse(f"from risk: {error}")
                continue
            if isinstance(answer, Grant):
                self._handle(inputs.GrantReceived(boot_ns(), answer))
            else:
                self._handle(inputs.RefusalReceived(boot_ns(), answer))
        return count

    def _take_predictions(self, ready: set[zmq.Socket[bytes]]) -> int:
        count = 0
        if self._models is not None and self._models.is_due(ready):
            for item in self._models.take():
                count += 1
                self._handle(item)
        return count

    def _take_orders(self) -> None:
        for message in self._broker.drain():
            if isinstance(message, Recovered):
                self._handle(self._books.reconcile(message))
            else:
                self._handle(inputs.OrderChanged(boot_ns(), message.event, message.position))

    # ------------------------------------------------------------------ what the core wants

    def _handle(self, item: inputs.Input) -> None:
        waiting = deque([item])
        while waiting:
            item = waiting.popleft()
            if self._recorder is not None:
                self._recorder.input(item)
            commands = self._core.handle(item)
            if self._recorder is not None:
                self._recorder.commands(commands)
            # Questions first: others work on the answers while lines of the log are written.
            for command in sorted(commands, key=lambda one: not isinstance(one, AskModel | AskRisk)):
                failed = self._carry_out(command)
                if failed is not None:
                    waiting.append(failed)

    def _carry_out(self, command: Command) -> inputs.IntentFailed | None:
        match command:
            case AskRisk(request=request):
                send(self._risk, encode(request))
            case AskModel() if self._models is not None:
                self._models.ask(command)
            case SendIntent(intent=intent):
                try:
                    self._broker.submit(intent)
                except DataStoreError as error:
                    return inputs.IntentFailed(boot_ns(), intent.client_id, str(error))
                self._log.info(
                    "order_sent",
                    client_id=intent.client_id,
                    role=intent.role,
                    side=intent.side,
                    quantity=str(intent.quantity),
                )
            case CancelIntent(client_id=client_id):
                self._broker.cancel(client_id)
            case Note():
                self._write(command)
        return None

    def _write(self, note: Note) -> None:
        if note.level == "error":
            self._status.fail(f"{note.event}: {note.fields.get('error') or next(iter(note.fields.values()), '')}")
        getattr(self._log, note.level)(note.event, **note.fields)

    def _new_client_id(self, role: Role) -> str | None:
        client_id = self._books.new_client_id(role)
        if self._recorder is not None:
            self._recorder.client_id(client_id)
        return client_id

    def _keep_recording(self, recorder: Recorder) -> None:
        recorder.flush()
        if recorder.problem:
            self._fail("recording_ended", recorder.problem)
            recorder.close()
            self._recorder = None

    def _refuse(self, problem: str) -> None:
        """Count junk apart from errors: whoever sends it must not get the engine restarted."""
        self._refused += 1
        self._runtime.warn_limited("message_refused", reason=problem[:300], refused=self._refused)

    def _fail(self, event: str, problem: str) -> None:
        self._status.fail(f"{event}: {problem}")
        self._log.error(event, error=problem)

    # ------------------------------------------------------------------ what it tells

    def _report(self) -> EngineReport:
        report = self._books.report(report_decisions(self._core), self._core.market)
        if self._models is not None:
            report = self._models.report(report, judged=self._core.judged)
        return msgspec.structs.replace(
            report,
            ticks=self._ticks,
            trades=self._trades,
            books=self._order_books,
            corrections=self._core.market.corrections,
            conflated=self._market.conflated,
            tick_latency_us=self._latency_us,
            refused_messages=self._refused,
            order_buckets=self._broker.acceptance.cumulative(),
            order_seconds=self._broker.acceptance.seconds,
        )
