"""The decision core of one symbol: inputs in, commands out; no socket, no clock, no database.

The live worker, a recording and the backtest drive the same object. Its rules: one order of its own at a
time, followed to its end; a position is opened only on a fresh signal, good data and a live grant, and
closed at once without one; a flip is an exit, and an entry at a later decision.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from levibot.bus.messages import (
    TERMINAL,
    BarCorrected,
    Intent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Prediction,
    RiskRequest,
    Role,
    Side,
    SpecChanged,
)
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.adviser import Adviser
from levibot.engine.commands import AskRisk, AskSnapshot, CancelIntent, Command, Level, Note, SendIntent
from levibot.engine.followed import FollowedOrders
from levibot.engine.market_view import MarketView
from levibot.engine.notes import market_note, order_note
from levibot.engine.orders import (
    Barriers,
    entry_intent,
    entry_request,
    exit_intent,
    grant_flaw,
    tradable,
    wanted_sign,
)
from levibot.strategies.base import Opinion, Question, Signal, Strategy
from levibot.strategies.components import in_words

_ANSWER_DEADLINE_NS = 2_000_000_000
_EXIT_RETRY_NS = 5_000_000_000
_STORE_RETRY_NS = 30_000_000_000  # a full disk stays full for a while
_SIDES: dict[int, Side] = {1: "buy", -1: "sell"}  # that opens a position of this sign


class DecisionCore:
    """Turns what happens to one symbol into commands.

    Parameters
    ----------
    symbol
        Canonical symbol.
    config
        Engine settings of the symbol.
    strategy
        Asked at each closed bar, and at what else it has a method for; with `on_predictions` it may have a
        question to a model first.
    new_client_id
        Gives a client order id for a role; None if none can be stored now.
    first_request_id
        Number of the first question to risk.
    paused
        Whether it starts paused.
    """

    def __init__(
        self,
        symbol: str,
        config: EngineConfig,
        strategy: Strategy,
        new_client_id: Callable[[Role], str | None],
        *,
        first_request_id: int = 1,
        paused: bool = False,
    ) -> None:
        self.market = MarketView(config.market_max_age, strategy.warm_up_bars)
        self.position: Position | None = None  # None until reconciled
        self.signal: Signal | None = None
        self.signals = {"long": 0, "short": 0, "flat": 0}
        self.decided_ns: int | None = None
        self._symbol = symbol
        self._config = config
        self._adviser = Adviser(strategy, self._note)
        self._new_client_id = new_client_id
        self._next_request_id = first_request_id
        self._paused = paused
        self._drift = ""
        self._loaded = False
        self._request: RiskRequest | None = None
        self._request_deadline_ns = 0
        self._barriers = Barriers.of(Signal("flat"), config)  # of the request
        self._orders = FollowedOrders()
        self._cancelled = ""  # own order whose cancellation was asked
        self._exit_not_before_ns = 0
        self._asked_at: dict[Side, int] = {}  # side → bar at which risk was asked last
        self._missing: dict[str, str] = {}  # why a model that was asked said nothing, by kind
        self._told: dict[str, str] = {}  # why the last entry was held back, and refused
        self._now_ns = 0
        self._commands: list[Command] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            inputs.HistoryLoaded: self._history_loaded,
            inputs.BarClosed: self._bar_closed,
            inputs.TickKept: self._tick_kept,
            inputs.MarketChanged: self._market_changed,
            inputs.HoleFound: self._hole_found,
            inputs.TimerFired: self._timer_fired,
            inputs.GrantReceived: self._grant_received,
            inputs.RefusalReceived: self._refusal_received,
            inputs.ModelsAnswered: self._models_answered,
            inputs.OrderChanged: self._order_changed,
            inputs.PositionReconciled: self._position_reconciled,
            inputs.IntentFailed: self._intent_failed,
            inputs.Paused: self._pause,
            inputs.Resumed: self._resume,
            inputs.TradesReceived: self._trades_received,
            inputs.BookReceived: self._book_received,
            inputs.ContextBarClosed: lambda item: self._adviser.on_context(item.bar),
            inputs.AltDataReceived: lambda item: self._adviser.on_altdata(item.data),
        }

    @property
    def opinion(self) -> Opinion:
        """What the strategy thinks of the newest bar that it judged; empty where `judged` says no."""
        return self._adviser.opinion if self.judged else Opinion()

    @property
    def judged(self) -> bool:
        """Whether the newest bar was judged, or the one before it, and no hole came since."""
        return self.market.follows(self._adviser.judged_ms)

    def handle(self, item: inputs.Input) -> list[Command]:
        """Take one input in; return what is to be done, in order."""
        self._commands = []
        self._now_ns = item.now_ns
        self._handlers[type(item)](item)
        return self._commands

    @property
    def settled(self) -> bool:
        """Whether no answer is awaited and no order of its own is in flight."""
        return self.deadline_ns is None and not self._orders.own

    @property
    def in_flight(self) -> bool:
        """Whether an order of its own has not ended."""
        return bool(self._orders.own)

    @property
    def deadline_ns(self) -> int | None:
        """When a `TimerFired` is due at the latest."""
        risk_ns = self._request_deadline_ns if self._request is not None else None
        model_ns = self._adviser.deadline_ns
        return min((due_ns for due_ns in (risk_ns, model_ns) if due_ns is not None), default=None)

    # ------------------------------------------------------------------ market

    def _history_loaded(self, item: inputs.HistoryLoaded) -> None:
        corrected, new = self.market.load(item)
        for bar in corrected:
            self._adviser.correct(bar)
        first, self._loaded = not self._loaded, True
        if first or self.position is None:
            self._adviser.warm_up(new)
        elif new:
            self._adviser.warm_up(new[:-1])
            self._take(self._adviser.on_bar(new[-1], self.position))

    def _bar_closed(self, item: inputs.BarClosed) -> None:
        if not self.market.add(item.bar, item.now_ns):
            return
        if self.position is None:
            self._adviser.warm_up([item.bar])
        else:
            self._take(self._adviser.on_bar(item.bar, self.position))

    def _tick_kept(self, item: inputs.TickKept) -> None:
        self.market.tick(item.tick, item.now_ns)
        if self._adviser.hears_ticks and self._loaded and self.position is not None:
            self._take(self._adviser.on_tick(item.tick, self.position))

    def _trades_received(self, item: inputs.TradesReceived) -> None:
        if self._adviser.hears_trades and self._loaded and self.position is not None:
            answer = self._adviser.on_trades(item.trades, self.position)
            if not item.trades.backfilled:
                self._take(answer)

    def _book_received(self, item: inputs.BookReceived) -> None:
        if self._adviser.hears_books and self._loaded and self.position is not None:
            self._take(self._adviser.on_book(item.book, self.position))

    def _market_changed(self, item: inputs.MarketChanged) -> None:
        self.market.change(item.event)
        self._commands.append(market_note(item.event))
        match item.event:
            case BarCorrected(bar=bar):
                self._adviser.correct(bar)
            case SpecChanged(spec=spec) if not spec.active:
                self._withdraw_entry()

    def _hole_found(self, item: inputs.HoleFound) -> None:
        self.market.lose(item.reason)
        self._note("warning", "market_hole_found", reason=item.reason)
        self._commands.append(AskSnapshot(item.reason))

    def _timer_fired(self, _item: inputs.TimerFired) -> None:
        if self._request is not None and self._now_ns >= self._request_deadline_ns:
            self._refuse("risk did not answer in time")
        model_ns = self._adviser.deadline_ns
        if model_ns is not None and self._now_ns >= model_ns:
            self._missing = {}
            self._predicted(())
        self._act(fresh=False)

    # ------------------------------------------------------------------ strategy

    def _take(self, answer: Signal | Question | None) -> None:
        """Act on what the strategy said just now; before it is warm, nothing that it says counts."""
        self.decided_ns = self._now_ns
        if not self.market.warm:
            answer = None
        if isinstance(answer, Question):
            self._commands.append(self._adviser.ask(answer, self.market.bar_ms, self._now_ns))
        elif answer is not None:
            self._accept(answer)
        self._act(fresh=isinstance(answer, Signal))

    def _models_answered(self, item: inputs.ModelsAnswered) -> None:
        if self._adviser.awaits(item.request_id):
            self._missing = item.missing
            self._predicted(item.predictions)

    def _predicted(self, predictions: tuple[Prediction, ...]) -> None:
        assert self.position is not None
        self._take(self._adviser.on_predictions(predictions, self.position))

    def _accept(self, signal: Signal) -> None:
        if self.signal is None or signal.direction != self.signal.direction:
            said = in_words(self._adviser.opinion.components, self._missing)[:400]
            self._note("info", "signal_changed", direction=signal.direction, reason=signal.reason[:200], said=said)
        self.signal = signal
        self.signals[signal.direction] += 1

    # ------------------------------------------------------------------ exposure

    def _act(self, *, fresh: bool) -> None:
        """Take the next step from the position there is to the one that is wanted."""
        if self.signal is None or self.position is None:
            return
        wanted = wanted_sign(self.signal, self.market.spec)
        closing: Side = "sell" if self.position.quantity > 0 else "buy"
        size = tradable(self.position.quantity, self.market.spec, self.market.price_to(closing))
        held = 0 if not size else 1 if self.position.quantity > 0 else -1
        self._withdraw_entry(unless=_SIDES.get(wanted))
        if wanted == held or self._orders.own:
            return
        if held:
            if self._now_ns >= self._exit_not_before_ns:
                self._exit(self.position, size)
        elif fresh and self._request is None:
            self._ask(_SIDES[wanted], self.signal)

    def _withdraw_entry(self, unless: Side | None = None) -> None:
        """Forget a question, and cancel an entry, that would open anything but `unless`."""
        if self._request is not None and self._request.side != unless:
            self._request = None
        for order in self._orders.own.values():
            if order.role == "entry" and order.side != unless and order.client_id != self._cancelled:
                self._cancelled = order.client_id
                self._commands.append(CancelIntent(order.client_id))

    def _exit(self, position: Position, size: Decimal) -> None:
        client_id = self._new_client_id("exit")
        if client_id is None:
            self._exit_not_before_ns = self._now_ns + _STORE_RETRY_NS
            return
        self._send(exit_intent(client_id, position, size, self.market.event_ms, self.market.newest))

    def _send(self, intent: Intent) -> None:
        self._orders.add(intent)
        self._commands.append(SendIntent(intent))

    def _ask(self, side: Side, signal: Signal) -> None:
        """Ask risk for an entry, at most once a bar and side."""
        reason = self._entry_barred()
        if reason:
            self._tell("entry_held_back", reason)
            return
        if self._asked_at.get(side) == self.market.bar_ms:
            return
        self._asked_at[side] = self.market.bar_ms
        client_id = self._new_client_id("entry")
        if client_id is None:
            self._tell("entry_held_back", "no client order id could be stored")
            return
        self._told.pop("entry_held_back", None)
        self._barriers = Barriers.of(signal, self._config)
        number = self._next_request_id
        self._request = entry_request(number, client_id, self._symbol, side, signal, self._barriers, self.market)
        self._next_request_id += 1
        self._request_deadline_ns = self._now_ns + _ANSWER_DEADLINE_NS
        self._commands.append(AskRisk(self._request))

    def _entry_barred(self) -> str:
        if self._paused:
            return "paused"
        if self._drift:
            return f"ledger and broker differ: {self._drift}"
        if self._orders.own:
            return "an order is in flight"
        return self.market.unfit(self._now_ns)

    # ------------------------------------------------------------------ risk

    def _grant_received(self, item: inputs.GrantReceived) -> None:
        request, grant = self._request, item.grant
        if request is None or (grant.request_id, grant.client_id) != (request.request_id, request.client_id):
            self._note("info", "late_grant_ignored", client_id=grant.client_id)
            return
        too_late_ns = min(grant.expires_ns, self._request_deadline_ns)
        reason = grant_flaw(grant, request, self._now_ns, too_late_ns) or self._entry_barred()
        if reason:
            self._refuse(reason)
            return
        assert self.market.spec is not None
        intent = entry_intent(self.market.spec, self._barriers, request, grant, self.market.newest)
        if intent is None:
            self._refuse(f"the granted quantity {grant.max_quantity} would be dust at its stop")
            return
        self._request = None
        self._told.pop("entry_refused", None)
        self._send(intent)

    def _refusal_received(self, item: inputs.RefusalReceived) -> None:
        if self._request is not None and item.refusal.request_id == self._request.request_id:
            self._refuse(item.refusal.reason)

    def _refuse(self, reason: str) -> None:
        self._request = None
        self._tell("entry_refused", reason)

    def _tell(self, event: str, reason: str) -> None:
        if reason != self._told.get(event):  # the same reason at each bar is one line in the log
            self._note("info", event, reason=reason[:300])
        self._told[event] = reason

    # ------------------------------------------------------------------ orders

    def _order_changed(self, item: inputs.OrderChanged) -> None:
        event = item.event
        if isinstance(event, OrderSubmitted):
            self._orders.add(event.intent)
        order = self._orders.get(event.client_id)
        self.position = item.position
        if order is not None and order.role == "entry" and isinstance(event, OrderPartiallyFilled | OrderFilled):
            self._adviser.on_entry(event.event_ms)
        self._commands.append(order_note(item, order.role if order else "?"))
        if not isinstance(event, TERMINAL):
            return
        self._orders.end(event.client_id)
        if order is not None and order.role == "exit" and not isinstance(event, OrderFilled):
            self._exit_not_before_ns = self._now_ns + _EXIT_RETRY_NS
        self._act(fresh=False)

    def _position_reconciled(self, item: inputs.PositionReconciled) -> None:
        self.position = item.position
        if item.entered_ms:
            self._adviser.on_entry(item.entered_ms)
        if item.drift and item.drift != self._drift:
            self._note("error", "ledger_drift_found", drift=item.drift[:300])
        self._drift = item.drift
        self._orders.replace(item.open_orders)
        self._act(fresh=False)

    def _intent_failed(self, item: inputs.IntentFailed) -> None:
        order = self._orders.own.pop(item.client_id, None)
        if order is not None and order.role == "exit":
            self._exit_not_before_ns = self._now_ns + _STORE_RETRY_NS
        self._note("error", "intent_not_journaled", reason=item.reason[:300], role=order.role if order else "?")

    # ------------------------------------------------------------------ operator

    def _pause(self, _item: inputs.Paused) -> None:
        self._paused = True
        self._withdraw_entry()
        self._note("info", "engine_paused")

    def _resume(self, _item: inputs.Resumed) -> None:
        self._paused = False
        self._note("info", "engine_resumed")

    def _note(self, level: Level, event: str, /, **fields: str) -> None:
        self._commands.append(Note(level, event, fields))
