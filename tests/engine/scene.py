"""A market, a risk desk and a broker in a few lines, around a real decision core."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from levibot.bus.messages import (
    Bar,
    Fill,
    Grant,
    Intent,
    MarketSpec,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Prediction,
    RiskRefused,
    RiskRequest,
    Role,
    Tick,
)
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.commands import AskModel, AskRisk, CancelIntent, Command, Note, SendIntent
from levibot.engine.core import DecisionCore
from levibot.execution.position import after_fill, flat
from levibot.strategies.base import Opinion, Question, Signal

SYMBOL = "BTC/USDT"
SECOND = 1_000_000_000


def market_spec(*, can_short: bool = False) -> MarketSpec:
    return MarketSpec(
        symbol=SYMBOL,
        base="BTC",
        quote="USDT",
        amount_step=Decimal("0.001"),
        price_tick=Decimal("0.01"),
        min_amount=Decimal("0.001"),
        min_cost=Decimal(5),
        maker_fee=Decimal(0),
        taker_fee=Decimal("0.001"),
        can_short=can_short,
    )


def make_bar(number: int, close: float = 100.0, *, synthetic: bool = False, seq: int = 0) -> Bar:
    return Bar(SYMBOL, 1, seq or number, number * 60_000, close, close, close, close, 1.0, synthetic)


def make_tick(seq: int, price: float = 100.0, *, event_ms: int = 0, received_ns: int = 0) -> Tick:
    return Tick(SYMBOL, 1, seq, 0, event_ms, received_ns, price - 0.01, price + 0.01, price)


class Scripted:
    """A strategy that answers what the test has put into `answer`; an exception is raised."""

    warm_up_bars = 2

    def __init__(self) -> None:
        self.answer: Any = None
        self.warmed: list[int] = []
        self.asked: list[int] = []
        self.positions: list[Decimal] = []

    def warm_up(self, bars: Sequence[Bar]) -> None:
        self.warmed += [bar.open_ms // 60_000 for bar in bars]

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        self.asked.append(bar.open_ms // 60_000)
        self.positions.append(position.quantity)
        return self._say()

    def _say(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ScriptedTicks(Scripted):
    """The same at every tick."""

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        return self._say()  # type: ignore[no-any-return]


QUESTION = Question("set", (1.0, 2.0))


class ScriptedModel(ScriptedTicks):
    """The same, and what it answers to predictions is in `verdict`."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict: Any = None
        self.opinion = Opinion()
        self.predictions: list[tuple[Prediction, ...]] = []

    def on_predictions(self, predictions: tuple[Prediction, ...], position: Position) -> Signal | None:
        self.predictions.append(predictions)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict  # type: ignore[no-any-return]


def make_prediction(bar_number: int, probability: float = 0.6, **changes: Any) -> Prediction:
    made = Prediction(1, SYMBOL, bar_number * 60_000, probability, "m/1", 0.012, 0.008, 30, 0, 1.0, 0.0)
    return msgspec.structs.replace(made, **changes)


class Scene:
    """A core, warmed up and reconciled at bar 10, and what it has asked for since."""

    def __init__(
        self, strategy: Scripted | None = None, *, can_short: bool = False, ready: bool = True, **settings: Any
    ) -> None:
        self.strategy = strategy or Scripted()
        self.spec = market_spec(can_short=can_short)
        self.now_ns = SECOND
        self.bar_number = 10
        self.tick_seq = 0
        self.ids = 0
        self.storable = True
        self.position = flat(SYMBOL)
        self.seq = 0
        self.commands: list[Command] = []
        self.requests: list[RiskRequest] = []
        self.questions: list[AskModel] = []
        self.intents: list[Intent] = []
        self.cancelled: list[str] = []
        self.notes: list[Note] = []
        self.core = DecisionCore(SYMBOL, EngineConfig(**settings), self.strategy, self._new_id)
        if ready:
            self.load()
            self.reconcile()

    def _new_id(self, role: Role) -> str | None:
        if not self.storable:
            return None
        self.ids += 1
        return f"test-{self.ids}-{role}"

    def give(self, item: inputs.Input) -> list[Command]:
        commands = self.core.handle(item)
        self.commands += commands
        self.requests += [command.request for command in commands if isinstance(command, AskRisk)]
        self.questions += [command for command in commands if isinstance(command, AskModel)]
        self.intents += [command.intent for command in commands if isinstance(command, SendIntent)]
        self.cancelled += [command.client_id for command in commands if isinstance(command, CancelIntent)]
        self.notes += [command for command in commands if isinstance(command, Note)]
        return commands

    def load(self, bars: Sequence[Bar] | None = None) -> list[Command]:
        history = list(bars) if bars is not None else [make_bar(number) for number in range(1, 11)]
        tick = make_tick(self.tick_seq, event_ms=self.bar_number * 60_000, received_ns=self.now_ns)
        return self.give(inputs.HistoryLoaded(self.now_ns, self.spec, history, tick))

    def reconcile(self, *open_orders: inputs.OpenOrder, drift: str = "") -> list[Command]:
        return self.give(inputs.PositionReconciled(self.now_ns, self.position, list(open_orders), drift))

    def bar(self, answer: Any = None, close: float = 100.0, *, synthetic: bool = False) -> list[Command]:
        """A minute passes, its bar closes, and the strategy answers."""
        self.strategy.answer = answer
        self.bar_number += 1
        self.now_ns += 60 * SECOND
        return self.give(inputs.BarClosed(self.now_ns, make_bar(self.bar_number, close, synthetic=synthetic)))

    def tick(self, answer: Any = None, price: float = 100.0) -> list[Command]:
        self.strategy.answer = answer
        self.tick_seq += 1
        self.now_ns += SECOND // 10
        event_ms = (self.bar_number + 1) * 60_000 + self.tick_seq
        return self.give(
            inputs.TickKept(
                self.now_ns, make_tick(self.tick_seq, price, event_ms=event_ms, received_ns=self.now_ns)
            )
        )

    def wait(self, seconds: float) -> list[Command]:
        self.now_ns += int(seconds * SECOND)
        return self.give(inputs.TimerFired(self.now_ns))

    def grant(
        self, quantity: str = "1", *, life: float = 2.0, request: RiskRequest | None = None
    ) -> list[Command]:
        asked = request or self.requests[-1]
        grant = Grant(
            asked.request_id,
            asked.client_id,
            SYMBOL,
            asked.side,
            Decimal(quantity),
            1,
            self.now_ns + int(life * SECOND),
        )
        return self.give(inputs.GrantReceived(self.now_ns, grant))

    def refuse(self, reason: str = "limit reached") -> list[Command]:
        asked = self.requests[-1]
        refusal = RiskRefused(asked.request_id, asked.client_id, SYMBOL, reason)
        return self.give(inputs.RefusalReceived(self.now_ns, refusal))

    def predict(
        self, verdict: Any, probability: float = 0.6, *, question: AskModel | None = None
    ) -> list[Command]:
        """The newest question is answered, or `question`; the strategy makes `verdict` of it."""
        asked = question or self.questions[-1]
        assert isinstance(self.strategy, ScriptedModel)
        self.strategy.verdict = verdict
        prediction = make_prediction(asked.bar_ms // 60_000, probability)
        return self.give(inputs.ModelsAnswered(self.now_ns, asked.request_id, (prediction,)))

    def miss(self, verdict: Any = None, *, question: AskModel | None = None) -> list[Command]:
        """The newest question, or `question`, gets no answer."""
        asked = question or self.questions[-1]
        assert isinstance(self.strategy, ScriptedModel)
        self.strategy.verdict = verdict
        return self.give(inputs.ModelsAnswered(self.now_ns, asked.request_id, (), {"lightgbm": "no model"}))

    def happen(self, event: OrderEvent) -> list[Command]:
        return self.give(inputs.OrderChanged(self.now_ns, event, self.position))

    def stamp(self, client_id: str) -> tuple[int, int, str, str, int, int]:
        self.seq += 1
        return (self.seq, self.seq, SYMBOL, client_id, self.bar_number * 60_000, 0)

    def submitted(self, intent: Intent) -> list[Command]:
        return self.happen(OrderSubmitted(*self.stamp(intent.client_id), intent))

    def fill(self, intent: Intent, quantity: Decimal | None = None, *, last: bool = True) -> list[Command]:
        amount = quantity if quantity is not None else intent.quantity
        fill = Fill(f"fill-{self.seq}", amount, Decimal(100), Decimal(0), "USDT", "taker")
        self.position = after_fill(self.position, intent.side, fill)
        kind = OrderFilled if last else OrderPartiallyFilled
        return self.happen(kind(*self.stamp(intent.client_id), fill))

    def cancel(self, intent: Intent) -> list[Command]:
        return self.happen(OrderCancelled(*self.stamp(intent.client_id), "asked"))

    def enter(self, direction: str = "long") -> Intent:
        """Open a position the whole way."""
        self.bar(Signal(direction))  # type: ignore[arg-type]
        self.grant()
        self.submitted(self.intents[-1])
        self.fill(self.intents[-1])
        return self.intents[-1]

    def noted(self, event: str) -> list[Note]:
        return [note for note in self.notes if note.event == event]
