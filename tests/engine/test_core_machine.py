"""Whatever happens in whatever order, the core keeps its rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from levibot.bus.messages import Intent, MarketRecovered, MarketStale, OrderDenied, OrderUnknown
from levibot.engine import inputs
from levibot.engine.commands import AskModel, AskRisk, Command, SendIntent
from levibot.strategies.base import Signal
from tests.engine.scene import QUESTION, SECOND, SYMBOL, Scene, ScriptedModel, make_bar

signals = st.one_of(
    st.none(),
    st.just(QUESTION),
    st.sampled_from([Signal("long"), Signal("short"), Signal("flat"), Signal("long", 2.0), ValueError("boom")]),
)


class CoreMachine(RuleBasedStateMachine):
    """A world that plays risk, broker, feed and operator at random."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[Intent] = []  # own orders that the broker has not ended
        self.filled: dict[str, Decimal] = {}
        self.stops: list[Intent] = []
        self.asked: list[tuple[str, int]] = []
        self.paused = self.stale = self.hole = False

    @initialize(can_short=st.booleans())
    def begin(self, can_short: bool) -> None:
        self.scene = Scene(ScriptedModel(), can_short=can_short)

    def follow(self, commands: list[Command]) -> None:
        """Check each order at the moment it is sent."""
        for command in commands:
            if isinstance(command, AskModel):
                assert command.bar_ms == self.scene.core.market.bar_ms
            if isinstance(command, AskRisk):
                self.asked.append((command.request.side, self.scene.bar_number))
            if not isinstance(command, SendIntent):
                continue
            intent, held = command.intent, self.scene.position.quantity
            assert not self.live, "two orders in flight"
            if intent.role == "entry":
                assert not self.paused, "entry while paused"
                assert not self.stale, "entry on stale data"
                assert not self.hole, "entry on data with a hole"
                assert held == 0, "entry on top of a position"
                assert intent.side == "buy" or self.scene.spec.can_short
            else:
                assert intent.reduce_only
                assert (intent.side == "sell") == (held > 0)
                assert intent.quantity == abs(held)
            self.live.append(intent)

    @rule(answer=signals, close=st.floats(50, 200), synthetic=st.booleans())
    def bar(self, answer: Any, close: float, synthetic: bool) -> None:
        self.follow(self.scene.bar(answer, close, synthetic=synthetic))

    @rule(answer=signals)
    def tick(self, answer: Any) -> None:
        self.follow(self.scene.tick(answer))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.follow(self.scene.wait(seconds))

    @precondition(lambda self: self.scene.questions)
    @rule(which=st.integers(0, 3), verdict=signals, missed=st.booleans())
    def answer(self, which: int, verdict: Any, missed: bool) -> None:
        questions, strategy = self.scene.questions, self.scene.strategy
        assert isinstance(strategy, ScriptedModel)
        question = questions[-1 - min(which, len(questions) - 1)]
        heard = len(strategy.predictions)
        opened = self.scene.core.deadline_ns
        give = self.scene.miss if missed else self.scene.predict
        commands = give(verdict, question=question)
        if question.bar_ms != self.scene.core.market.bar_ms or question is not questions[-1] or opened is None:
            assert len(strategy.predictions) == heard, "an answer that came too late was heard"
            assert not commands
        self.follow(commands)

    @precondition(lambda self: self.scene.requests)
    @rule(
        which=st.integers(0, 3),
        quantity=st.sampled_from(["1", "0.0001", "3.3333"]),
        life=st.sampled_from([0.0, 2.0]),
    )
    def grant(self, which: int, quantity: str, life: float) -> None:
        request = self.scene.requests[-1 - min(which, len(self.scene.requests) - 1)]
        self.follow(self.scene.grant(quantity, life=life, request=request))

    @precondition(lambda self: self.scene.requests)
    @rule()
    def refuse(self) -> None:
        self.follow(self.scene.refuse())

    @precondition(lambda self: self.live)
    @rule(part=st.sampled_from(["0.25", "0.5", "1"]), last=st.booleans())
    def fill(self, part: str, last: bool) -> None:
        intent = self.live[0]
        rest = intent.quantity - self.filled.get(intent.client_id, Decimal(0))
        if intent.reduce_only:  # the broker never lets an exit flip a position
            rest = min(rest, abs(self.scene.position.quantity))
        amount = rest if last else rest * Decimal(part) / 2
        if not amount:
            self.cancel()
            return
        self.filled[intent.client_id] = self.filled.get(intent.client_id, Decimal(0)) + amount
        if last:
            self.live.clear()
        self.follow(self.scene.fill(intent, amount, last=last))

    @precondition(lambda self: self.live)
    @rule()
    def cancel(self) -> None:
        intent = self.live.pop()
        self.follow(self.scene.cancel(intent))

    @precondition(lambda self: self.live)
    @rule()
    def deny(self) -> None:
        intent = self.live.pop()
        self.follow(self.scene.happen(OrderDenied(*self.scene.stamp(intent.client_id), "no")))

    @precondition(lambda self: self.live)
    @rule()
    def lose(self) -> None:
        self.follow(self.scene.happen(OrderUnknown(*self.scene.stamp(self.live[0].client_id), "no answer")))

    @precondition(lambda self: self.live)
    @rule()
    def fail_to_journal(self) -> None:
        intent = self.live[0]
        if intent.client_id not in self.filled:
            self.live.pop()
            self.follow(self.scene.give(inputs.IntentFailed(self.scene.now_ns, intent.client_id, "disk full")))

    @precondition(lambda self: self.scene.position.quantity)
    @rule()
    def fire_stop(self) -> None:
        held = self.scene.position.quantity
        name = f"stop-{self.scene.seq}"
        stop = Intent(name, SYMBOL, "sell" if held > 0 else "buy", "stop", abs(held), "stop", 0, reduce_only=True)
        self.follow(self.scene.submitted(stop))
        self.follow(self.scene.fill(stop))

    @rule(lost=st.booleans())
    def reconcile(self, lost: bool) -> None:
        if lost:
            self.live = [order for order in self.live if order.client_id in self.filled]
        self.follow(self.scene.reconcile(*(inputs.OpenOrder(o.client_id, o.role, o.side) for o in self.live)))

    @rule()
    def pause(self) -> None:
        self.paused = True
        self.follow(self.scene.give(inputs.Paused(self.scene.now_ns)))

    @rule()
    def resume(self) -> None:
        self.paused = False
        self.follow(self.scene.give(inputs.Resumed(self.scene.now_ns)))

    @rule(stale=st.booleans())
    def change_market(self, stale: bool) -> None:
        self.stale = stale
        event = MarketStale(SYMBOL, 1, 1, 1, "silent") if stale else MarketRecovered(SYMBOL, 1, 1, 1)
        self.follow(self.scene.give(inputs.MarketChanged(self.scene.now_ns, event)))

    @rule()
    def find_hole(self) -> None:
        self.hole = True
        self.follow(self.scene.give(inputs.HoleFound(self.scene.now_ns, "lost")))

    @rule(new=st.integers(0, 3), answer=signals)
    def load(self, new: int, answer: Any) -> None:
        self.hole = self.stale = False
        self.scene.strategy.answer = answer
        self.scene.bar_number += new
        last = self.scene.bar_number
        self.follow(self.scene.load([make_bar(number) for number in range(max(1, last - 20), last + 1)]))

    @invariant()
    def position_is_what_the_fills_say(self) -> None:
        position = self.scene.core.position
        assert position == self.scene.position

    @invariant()
    def the_core_knows_its_order_in_flight(self) -> None:
        assert self.scene.core.in_flight == bool(self.live)

    @invariant()
    def it_waits_for_no_answer_without_an_end(self) -> None:
        core = self.scene.core
        assert core.settled == (core.deadline_ns is None and not self.live)
        assert core.deadline_ns is None or core.deadline_ns <= self.scene.now_ns + 60 * SECOND

    @invariant()
    def at_most_one_request_a_bar_and_side(self) -> None:
        assert len(self.asked) == len(set(self.asked)), "asked twice at one bar"

    def teardown(self) -> None:
        """However it stands, a flat signal leads to a flat position within a few orders."""
        if not hasattr(self, "scene"):
            return
        for _ in range(6):
            self.wait(40.0)
            self.bar(Signal("flat"), 100.0, False)
            if self.live:
                self.fill("1", True)
        assert not self.live
        assert abs(self.scene.position.quantity) < self.scene.spec.min_amount


CoreMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestCoreMachine = CoreMachine.TestCase
