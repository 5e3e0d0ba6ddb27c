"""Random prices, books, trades, orders and crashes: money is exact, and no rule of the exchange is ever broken."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.bus.messages import (
    Book,
    FundingPaid,
    Intent,
    OrderAccepted,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
)
from levibot.execution.checks import is_conditional, may_open_risk
from levibot.execution.collateral import reserve_for
from levibot.execution.orders import OrderState
from levibot.execution.position import cash_flow, signed
from tests.execution.examples import D, Desk, book, entry, leave, market, tick, trades

SWAP = "BTC/USDT:USDT"
_CENTS = st.integers(9_000, 11_000)
_SIZE = st.integers(60, 30_000).map(lambda thousandth: D(thousandth) / 1000)
_LEVELS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 19_000)), min_size=1, max_size=4)
_STEPS = st.one_of(
    st.tuples(st.just("tick"), _CENTS, st.integers(0, 40)),
    st.tuples(st.just("book"), _CENTS, st.tuples(_LEVELS, _LEVELS)),
    st.tuples(st.just("trade"), _CENTS, st.tuples(st.sampled_from(["buy", "sell", None]), _SIZE)),
    st.tuples(st.sampled_from(["market", "limit", "post", "ioc"]), _CENTS, st.tuples(st.booleans(), _SIZE)),
    st.tuples(st.sampled_from(["close", "stop", "trail", "target", "again", "cancel"]), _CENTS, _SIZE),
    st.tuples(st.sampled_from(["stale", "fresh", "crash", "time", "hours"]), _CENTS, st.none()),
)


class World:
    """A paper exchange, and what its events add up to."""

    def __init__(self, folder: Path, *, latency: float, cash: int, fees: tuple[str, str]) -> None:
        self.desk = Desk(folder / "broker.sqlite", cash=str(cash), latency=latency, funding_rate=0.0001)
        rates = {"maker_fee": D(fees[0]), "taker_fee": D(fees[1])}
        self.desk.markets = [market(SWAP, quote="USDT", can_short=True, **rates)]
        self.desk.exchange.set_market(self.desk.markets[0])
        self.intents: dict[str, Intent] = {}
        self.cash, self.position = D(cash), D(0)
        self.free, self.paid = self.cash, D(0)
        self.filled: Counter[str] = Counter()
        self.taken: defaultdict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
        self.book: Book | None = None
        self.hours = 0
        self.seq = 0
        self.sent: list[Intent] = []

    # ------------------------------------------------------------------ what happens

    def act(self, action: str, cents: int, what: Any) -> None:
        exchange, price = self.desk.exchange, D(cents) / 100
        match action:
            case "tick":
                half = D(what) / 100
                quote = {"bid": float(price - half), "ask": float(price + half)}
                exchange.on_tick(self._tick(float(price), **quote))
            case "book":
                self._see(price, *what)
            case "trade":
                exchange.on_flow(trades((what[0], float(price), float(what[1])), symbol=SWAP))
            case "market" | "limit" | "post" | "ioc":
                self._enter(action, price, *what)
            case "close" | "stop" | "trail" | "target":
                self._leave(action, price, what)
            case "again" if self.sent:
                assert exchange.submit(self.sent[cents % len(self.sent)]) == []
            case "cancel" if self.desk.books.open:
                victims = list(self.desk.books.open)
                exchange.cancel(SWAP, victims[cents % len(victims)])
            case "stale":
                exchange.set_market(self.desk.markets[0], "silence")
                self.book = None
            case "fresh":
                exchange.set_market(self.desk.markets[0])
            case "crash":
                self.desk.restart()
                self.book = None
            case "time":
                self.desk.ahead_ns += 60_000_000
                exchange.on_timer()
            case "hours":
                self.hours += 8
                exchange.on_tick(self._tick(float(price)))

    def _tick(self, price: float, **quote: float) -> Any:
        event_ms = 1_700_000_000_000 + self.hours * 3_600_000
        return tick(price, symbol=SWAP, event_ms=event_ms, received_ns=self.desk.now_ns(), **quote)

    def _see(self, middle: Decimal, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        def levels(told: list[tuple[int, int]], sign: int) -> str:
            price, texts = middle, []
            for step, amount in told:
                price += sign * D(step) / 100
                texts.append(f"{price}x{D(amount) / 1000}")
            return " ".join(texts)

        seen = book(levels(bids, -1), levels(asks, 1), symbol=SWAP, received_ns=self.desk.now_ns())
        self.taken.clear()
        self.book = seen
        self.desk.exchange.on_flow(seen)

    def _enter(self, action: str, price: Decimal, buys: bool, size: Decimal) -> None:
        side, away = ("buy", -1) if buys else ("sell", 1)
        terms: dict[str, Any] = {"stop_loss": price * (1 + away * D("0.04"))}
        if size > 10:
            terms["take_profit"] = price * (1 - away * D("0.05"))
        if size > 20:
            terms["trailing_stop"] = D("2.5")
        if action != "market":
            terms |= {"kind": "limit", "limit_price": price, "post_only": action == "post"}
            terms["time_in_force"] = "ioc" if action == "ioc" else "gtc"
        self._send(entry(str(size), side=side, symbol=SWAP, **terms))  # type: ignore[arg-type]

    def _leave(self, action: str, price: Decimal, size: Decimal) -> None:
        side = "sell" if self.desk.books.position(SWAP).quantity > 0 else "buy"
        terms: dict[str, Any] = {"oco": "mine"} if size > 15 else {}
        match action:
            case "stop":
                terms |= {"kind": "stop", "trigger_price": price}
                terms["limit_price"] = price if size > 25 else None
            case "trail":
                terms |= {"kind": "trailing_stop", "trailing_offset": D(3)}
            case "target":
                terms |= {"kind": "limit", "limit_price": price}
        self._send(leave(str(size), side=side, symbol=SWAP, **terms))  # type: ignore[arg-type]

    def _send(self, intent: Intent) -> None:
        self.sent.append(intent)
        self.desk.exchange.submit(intent)

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        books = self.desk.books
        for event in books.events_since(self.seq):
            assert event.seq == self.seq + 1
            self.seq = event.seq
            self._count(event)
        assert books.cash == self.cash, "cash is the sum of all fills and payments"
        assert books.position(SWAP).quantity == self.position
        free = books.available_cash()
        assert free >= min(D(0), self.free) + self.paid, "no order makes free cash negative: payments alone do"
        self.free, self.paid = free, D(0)
        for order in books.open.values():
            assert 0 <= order.filled < order.intent.quantity
            if order.state is OrderState.ACCEPTED and may_open_risk(order.intent):
                assert order.intent.limit_price is not None
                needed = reserve_for(order.remaining, order.intent.limit_price, self.desk.markets[0])
                sells = order.intent.side == "sell"  # what is held needs no cash
                assert order.reserved <= needed if sells else order.reserved == needed, (
                    "what is set aside is what can still be spent"
                )
        self._check_protection()

    def _count(self, event: OrderEvent) -> None:
        if isinstance(event, OrderSubmitted):
            assert event.client_id not in self.intents, "an id is an order, once"
            self.intents[event.client_id] = event.intent
        elif isinstance(event, FundingPaid):
            self.cash += event.amount
            self.paid += min(event.amount, D(0))  # is taken even if all else is spent
        elif isinstance(event, OrderFilled | OrderPartiallyFilled):
            self._fill(self.intents[event.client_id], event)

    def _fill(self, intent: Intent, event: OrderFilled | OrderPartiallyFilled) -> None:
        fill, before = event.fill, self.position
        self.cash += cash_flow(intent.side, fill, "USDT")
        self.position += signed(intent.side, fill.quantity)
        self.filled[intent.client_id] += fill.quantity  # type: ignore[assignment]
        assert self.filled[intent.client_id] <= intent.quantity or intent.parent_id, "never more than was ordered"
        if intent.reduce_only:
            assert before * self.position >= 0, "an exit never flips a position"
            assert abs(self.position) < abs(before)
        if intent.limit_price is not None and (intent.kind == "limit" or fill.liquidity == "maker"):
            limit = market().price_tick + intent.limit_price  # it was rounded in the trader's favour
            assert fill.price <= limit if intent.side == "buy" else fill.price >= intent.limit_price
        if self.book is not None and fill.liquidity == "taker":
            levels = self.book.asks if intent.side == "buy" else self.book.bids
            offered = {D(repr(price)): D(repr(amount)) for price, amount in levels}
            self.taken[(intent.side, fill.price)] += fill.quantity
            assert self.taken[(intent.side, fill.price)] <= offered.get(fill.price, D(0)), "no more than there was"

    def _check_protection(self) -> None:
        by_kind: Counter[str] = Counter()
        for order in self.desk.books.open.values():
            intent = order.intent
            if intent.parent_id and is_conditional(intent) and order.state is OrderState.ACCEPTED:
                assert intent.quantity <= self.filled[intent.parent_id], "never more than filled is protected"
                assert signed(intent.side, self.position) < 0, "a position is protected, not its contrary"
                by_kind[intent.kind] += order.remaining  # type: ignore[assignment]
        for kind, covered in by_kind.items():
            assert covered <= abs(self.position), f"{kind}s for more than is held"

    def check_again_from_disk(self) -> None:
        """What memory says, the disk says."""
        books = self.desk.books
        before = (books.cash, books.position(SWAP), {key: vars(order) for key, order in books.open.items()})
        self.desk.restart()
        books = self.desk.books
        assert before == (
            books.cash,
            books.position(SWAP),
            {key: vars(order) for key, order in books.open.items()},
        )


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([3_000, 10_000]),
    st.sampled_from([("0.001", "0.002"), ("0.00075", "0.00075")]),
    st.lists(_STEPS, min_size=50, max_size=70),
)
def test_whatever_happens_the_exchange_keeps_its_rules(
    latency: float, cash: int, fees: tuple[str, str], steps: list[tuple[str, int, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), latency=latency, cash=cash, fees=fees)
        try:
            world.act("tick", 10_000, 1)
            for step in steps:
                world.act(*step)
                world.check()
            world.check_again_from_disk()
        finally:
            world.desk.books.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["submit", "reopen", "tick", "timer"]), min_size=1, max_size=20),
    st.sampled_from([0.0, 0.05]),
)
def test_an_intent_is_filled_exactly_once_however_often_it_comes(faults: list[str], latency: float) -> None:
    """Duplicates, a lost answer (the sender sends again), and a broker that dies between submission and fill."""
    with tempfile.TemporaryDirectory() as name:
        desk = Desk(Path(name) / "broker.sqlite", latency=latency)
        intent = entry("2", stop_loss=D(90))
        desk.price(100.0)
        for fault in ["submit", *faults, "tick", "wait", "submit"]:
            match fault:
                case "submit":
                    desk.exchange.submit(intent)
                case "reopen":
                    desk.restart()
                    desk.price(100.0)
                case "tick":
                    desk.price(100.0)
                case "timer":
                    desk.exchange.on_timer()
                case "wait":
                    desk.ahead_ns += 60_000_000
                    desk.exchange.on_timer()
        own = [event for event in desk.books.events_since(0) if event.client_id == intent.client_id]
        assert sum(isinstance(event, OrderFilled) for event in own) == 1
        assert sum(isinstance(event, OrderAccepted) for event in own) == 1
        assert sum(isinstance(event, OrderSubmitted) for event in own) == 1
        assert desk.position() == 2
        assert [order.remaining for order in desk.books.open.values()] == [2], "one stop"
        desk.books.close()
