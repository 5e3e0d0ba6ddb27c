"""Whatever happens, in whatever order: caps hold, the equity is that of a naive model, a latch stays latched."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from levibot.bus.messages import Grant, Intent, OrderEvent
from levibot.config_risk import ProtectionsConfig
from tests.risk.market import DAY_MS, MORNING_MS, SECOND, Desk, intent, only, position

SYMBOLS = [f"{name}/USDT" for name in "ABCDEFG"]
CAP, GROSS, TOGETHER, MOST = Decimal("0.2"), Decimal("0.7"), Decimal("0.5"), 4
LIMITS = only(
    position_cap=float(CAP),
    gross_exposure=float(GROSS),
    correlated_exposure=float(TOGETHER),
    max_positions=MOST,
    orders_per_minute=6,
    daily_loss=0.02,
    symbol_daily_loss=0.012,
    protections=ProtectionsConfig(max_drawdown=0.05),
    mark_max_age=3600.0,
)
symbols, halves = st.sampled_from(SYMBOLS), st.sampled_from(["0.5", "1"])


@dataclass
class World:
    """The account as simple bookkeeping has it: nothing of it is shared with what is tested."""

    cash: Decimal = Decimal(10_000)
    start: Decimal = Decimal(10_000)
    last: Decimal = Decimal(10_000)
    funds: Decimal = Decimal(0)
    held: dict[str, Decimal] = field(default_factory=dict)
    paid: dict[str, Decimal] = field(default_factory=dict)  # cost of what is held
    realized: dict[str, Decimal] = field(default_factory=dict)
    marks: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, Decimal(100)))
    grants: dict[str, Grant] = field(default_factory=dict)
    orders: dict[str, tuple[Intent, Decimal]] = field(default_factory=dict)  # what remains of each

    @property
    def equity(self) -> Decimal:
        return self.cash + sum(quantity * self.marks[symbol] for symbol, quantity in self.held.items())

    def worst(self, now_ns: int) -> dict[str, Decimal]:
        """Value by symbol if every order and every grant that is alive were filled."""
        total = {symbol: quantity * self.marks[symbol] for symbol, quantity in self.held.items() if quantity}
        for order, left in self.orders.values():
            if order.role == "entry":
                total[order.symbol] = total.get(order.symbol, Decimal(0)) + left * self.marks[order.symbol]
        for grant in self.grants.values():
            if grant.expires_ns >= now_ns:
                value = grant.max_quantity * self.marks[grant.symbol]
                total[grant.symbol] = total.get(grant.symbol, Decimal(0)) + value
        return total


class Portfolio(RuleBasedStateMachine):
    """Ticks, requests, orders, fills, cancels, transfers, operators, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.folder.name) / "risk.json", LIMITS)
        self.world, self.number, self.event_ms = World(), 0, MORNING_MS
        self.latched: set[str] = set()
        self.desk.know()
        for symbol in SYMBOLS:
            self.desk.price(symbol, 100.0)
        self._settle()

    def teardown(self) -> None:
        self.folder.cleanup()

    # ------------------------------------------------------------------ the market

    @rule(symbol=symbols, percent=st.integers(-4, 4), seconds=st.floats(0.05, 40))
    def tick(self, symbol: str, percent: int, seconds: float) -> None:
        self.desk.now_ns += round(seconds * SECOND)
        self.event_ms += round(seconds * 1000)
        self.world.marks[symbol] = round(self.world.marks[symbol] * (100 + percent) / 100, 2)
        self.desk.price(symbol, float(self.world.marks[symbol]), self.event_ms)
        self._settle()

    @rule()
    def midnight(self) -> None:
        self.event_ms = (self.event_ms // DAY_MS + 1) * DAY_MS
        self.world.start = self.world.last
        self.latched.discard("daily_stop")
        self.desk.price(SYMBOLS[0], float(self.world.marks[SYMBOLS[0]]), self.event_ms)
        self._settle()

    # ------------------------------------------------------------------ engines and broker

    @rule(symbol=symbols)
    def ask(self, symbol: str) -> None:
        self.number += 1
        answer = self.desk.ask(f"o{self.number}", symbol, price=self.world.marks[symbol])
        if isinstance(answer, Grant):
            assert not self.latched
            self.world.grants[answer.client_id] = answer
            worst, equity = self.world.worst(self.desk.now_ns), self.world.equity
            assert worst[symbol] <= CAP * equity
            assert len(worst) <= MOST
            assert sum(worst.values()) <= min(GROSS, TOGETHER) * equity  # nothing is known of what moves together
        self._settle()

    @precondition(lambda self: self.world.grants)
    @rule(data=st.data(), part=halves)
    def submit(self, data: st.DataObject, part: str) -> None:
        grant = self.world.grants.pop(data.draw(st.sampled_from(sorted(self.world.grants))))
        if grant.expires_ns < self.desk.now_ns:
            return  # the broker takes it no more
        order = intent(grant.client_id, grant.symbol, quantity=str(grant.max_quantity * Decimal(part)))
        self.world.orders[order.client_id] = (order, order.quantity)
        self._tell(self.desk.broker.submitted(order))

    @precondition(lambda self: any(self.world.held.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        symbol = data.draw(st.sampled_from(sorted(s for s, quantity in self.world.held.items() if quantity)))
        if any(order.symbol == symbol and order.role != "entry" for order, _ in self.world.orders.values()):
            return
        self.number += 1
        order = intent(f"x{self.number}", symbol, "sell", str(self.world.held[symbol]), role="stop")
        self.world.orders[order.client_id] = (order, order.quantity)
        self._tell(self.desk.broker.submitted(order))

    @precondition(lambda self: self.world.orders)
    @rule(data=st.data(), part=halves)
    def fill(self, data: st.DataObject, part: str) -> None:
        world = self.world
        order, left = world.orders[data.draw(st.sampled_from(sorted(world.orders)))]
        quantity, price = left * Decimal(part), world.marks[order.symbol]
        fee = round(quantity * price * Decimal("0.001"), 8)
        if part == "1":
            del world.orders[order.client_id]
        else:
            world.orders[order.client_id] = (order, left - quantity)
        held, paid = world.held.get(order.symbol, Decimal(0)), world.paid.get(order.symbol, Decimal(0))
        if order.side == "buy":
            world.cash -= quantity * price + fee
            world.held[order.symbol], world.paid[order.symbol] = held + quantity, paid + quantity * price
        else:
            world.cash += quantity * price - fee
            share = paid * quantity / held
            world.held[order.symbol], world.paid[order.symbol] = held - quantity, paid - share
            gain = quantity * price - share
            world.realized[order.symbol] = world.realized.get(order.symbol, Decimal(0)) + gain
        world.realized[order.symbol] = world.realized.get(order.symbol, Decimal(0)) - fee
        done = msg_quantity(order, quantity)
        broker = self.desk.broker
        event = broker.filled(done, str(price), None if part == "1" else str(quantity), fee=str(fee))
        self._tell(event)

    @precondition(lambda self: self.world.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order, _ = self.world.orders.pop(data.draw(st.sampled_from(sorted(self.world.orders))))
        self._tell(self.desk.broker.cancelled(order))

    # ------------------------------------------------------------------ people, and trouble

    @rule(amount=st.integers(-2_000, 3_000))
    def transfer(self, amount: int) -> None:
        self.world.cash += amount
        self.world.start += amount
        self.world.funds += amount
        self._tell(self.desk.broker.moved(str(amount)))

    @rule(on=st.booleans())
    def kill_switch(self, on: bool) -> None:
        if on:
            self.desk.risk.stops.engage_kill_switch("enough", "ann")
            self.latched.add("kill_switch")
        else:
            self.desk.risk.stops.release_kill_switch("calm again", "ann")
            self.latched.discard("kill_switch")

    @rule(lost=st.booleans())
    def crash(self, lost: bool) -> None:
        """kill -9 of everything: the broker knows what it knew, grants of the life before are dead."""
        if not lost:
            self.desk.risk.store_if_due(self.desk.now_ns + 20 * SECOND)
        self.world.grants.clear()
        self.desk.start()
        assert self.latched <= set(self.desk.risk.memory.latches)
        world = self.world
        held = [
            position(
                symbol,
                str(quantity),
                str(world.paid[symbol] / quantity if quantity else 0),
                str(world.realized.get(symbol, 0)),
            )
            for symbol, quantity in world.held.items()
        ]
        orders = tuple(order for order, _ in world.orders.values())
        self.desk.know(str(world.cash), *held, orders=orders, funds={"USDT": str(world.funds)})
        for symbol in SYMBOLS:
            self.desk.price(symbol, float(world.marks[symbol]), self.event_ms)
        self._settle()

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def equity_is_that_of_the_naive_model(self) -> None:
        summary = self.desk.risk.summary(self.desk.now_ns)
        assert abs(Decimal(str(summary["equity_now"])) - self.world.equity) < Decimal("0.000001")
        assert abs(Decimal(str(summary["equity_start_day"])) - self.world.start) < Decimal("0.000001")

    @invariant()
    def latches_are_those_that_were_earned(self) -> None:
        assert set(self.desk.risk.memory.latches) == self.latched
        assert (self.desk.risk.status.state == "ACTIVE") == (not self.latched)

    def _tell(self, event: OrderEvent) -> None:
        assert self.desk.events(event)
        self._settle()

    def _settle(self) -> None:
        """The second of the supervisor that comes after each event."""
        self.desk.risk.refresh(self.desk.now_ns)
        world = self.world
        world.last = world.equity
        if world.start > 0 and world.equity / world.start - 1 <= Decimal("-0.02"):
            self.latched.add("daily_stop")


def msg_quantity(order: Intent, quantity: Decimal) -> Intent:
    """The rest of an order, as the last of its fills."""
    return intent(order.client_id, order.symbol, order.side, str(quantity), role=order.role)


Portfolio.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestPortfolio = Portfolio.TestCase
