"""Whatever is filled, paid, moved, repeated, lost on the way or cut off: books and ledger equal a recount."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from levibot.bus.messages import (
    Fill,
    FundingPaid,
    FundsMoved,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Reconciled,
    Side,
)
from levibot.execution.books import Books
from levibot.execution.ledger import Ledger, SequenceHoleError
from levibot.execution.orders import Order
from tests.execution.examples import D, entry, leave

_START = D(10_000)
_STEP = D("0.00001")
_SYMBOLS = ("BTC/USDT", "ETH/USDT")
_SYMBOL = st.sampled_from(_SYMBOLS)
_SIZE = st.integers(1, 10**6).map(lambda number: Decimal(number).scaleb(-5))
_PRICE = st.integers(1, 10**9).map(lambda number: Decimal(number).scaleb(-4))
_PART = st.sampled_from([D("0.1"), D("0.5"), D("0.999"), D(1)])
_FEE = st.tuples(
    st.sampled_from(["USDT", "base", "BNB"]), st.integers(-20, 200)
)  # in 1/10000; a rebate is negative
_AMOUNT = st.integers(-(10**8), 10**8).map(lambda number: Decimal(number).scaleb(-6))


class Accounts(RuleBasedStateMachine):
    """Books that trade, and the ledgers of two engines that hear of it badly."""

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._open()
        self._heard: dict[str, list[OrderEvent]] = {symbol: [] for symbol in _SYMBOLS}  # ever sent to a ledger
        self._fills = 0

    def _open(self) -> None:
        folder = Path(self._folder.name)
        self.books = Books(folder / "broker.sqlite", "test", "USDT", _START)
        names = {symbol: folder / f"{symbol[:3]}.sqlite" for symbol in _SYMBOLS}
        self.ledgers = {symbol: Ledger.open(path, symbol, "test") for symbol, path in names.items()}
        assert all(ledger.set_aside is None for ledger in self.ledgers.values())

    def _close(self) -> None:
        self.books.close()
        for ledger in self.ledgers.values():
            ledger.close()

    def teardown(self) -> None:
        if hasattr(self, "books"):
            self._close()
            self._folder.cleanup()

    # ------------------------------------------------------------------ what happens

    @rule(symbol=_SYMBOL, size=_SIZE, side=st.sampled_from(["buy", "sell"]), delivered=st.booleans())
    def submit(self, symbol: str, size: Decimal, side: Side, delivered: bool) -> None:
        make = entry if side == "buy" else leave
        intent = make(str(size), symbol=symbol, side=side)
        if side == "buy":
            self.ledgers[symbol].journal(intent)  # some are heard of before the broker has them
        with self.books.transaction(1) as events:
            self.books.accept(self.books.submit(intent, intent))
        self._deliver(events, delivered)

    @precondition(lambda self: self.books.open)
    @rule(which=st.integers(0, 99), part=_PART, price=_PRICE, fee=_FEE, delivered=st.booleans())
    def fill(self, which: int, part: Decimal, price: Decimal, fee: tuple[str, int], delivered: bool) -> None:
        order = self._chosen(which)
        quantity = max((order.remaining * part).quantize(_STEP, ROUND_DOWN), _STEP)
        asset = order.intent.symbol.partition("/")[0] if fee[0] == "base" else fee[0]
        basis = quantity if fee[0] == "base" else quantity * price
        amount = (basis * fee[1] / 10_000).quantize(D("1e-8"))
        self._fills += 1
        fill = Fill(f"f{self._fills}", quantity, price, amount, asset, "taker")
        with self.books.transaction(2) as events:
            self.books.fill(order, fill)
        assert self.books.has_fill(order.intent.symbol, fill.fill_id)
        self._deliver(events, delivered)

    @precondition(lambda self: self.books.open)
    @rule(which=st.integers(0, 99), delivered=st.booleans())
    def cancel(self, which: int, delivered: bool) -> None:
        with self.books.transaction(3) as events:
            self.books.cancel(self._chosen(which), "test")
        self._deliver(events, delivered)

    @rule(symbol=_SYMBOL, amount=_AMOUNT, delivered=st.booleans())
    def fund(self, symbol: str, amount: Decimal, delivered: bool) -> None:
        with self.books.transaction(4) as events:
            self.books.pay_funding(symbol, amount, D("0.0001"), D(100))
        self._deliver(events, delivered)

    @rule(asset=st.sampled_from(["USDT", "BNB"]), amount=_AMOUNT)
    def move(self, asset: str, amount: Decimal) -> None:
        with self.books.transaction(5):
            self.books.move_funds(asset, amount, "correction", "test")

    @rule(which=st.integers(0, 99))
    def fail(self, which: int) -> None:
        """A transaction that is cut off after its first changes leaves nothing, in memory and on disk."""
        before = self._standing()
        try:
            with self.books.transaction(6):
                self.books.pay_funding(_SYMBOLS[0], D(1), D("0.1"), D(1))
                if self.books.open:
                    order = self._chosen(which)
                    self.books.fill(order, Fill("cut", order.remaining, D(1), D(0), "USDT", "maker"))
                raise _CutOffError
        except _CutOffError:
            pass
        assert before == self._standing()

    def _standing(self) -> list[object]:
        books = self.books
        return [books.seq, books.cash, *map(books.position, _SYMBOLS), {*books.open}, dict(books.balances)]

    @rule()
    def die(self) -> None:
        """All is opened anew, as after a crash: what was committed is all there is."""
        self._close()
        self._open()

    @rule(symbol=_SYMBOL, first=st.integers(0, 50), count=st.integers(1, 10))
    def repeat(self, symbol: str, first: int, count: int) -> None:
        """What a ledger was sent once comes again: it changes nothing."""
        ledger = self.ledgers[symbol]
        known = [event for event in self._heard[symbol] if event.symbol_seq <= ledger.last_seq]
        before = ledger.position, ledger.trade_count, ledger.last_seq, set(ledger.open_ids())
        start = first % max(len(known), 1)
        assert ledger.apply(*known[start : start + count]) == []
        assert before == (ledger.position, ledger.trade_count, ledger.last_seq, set(ledger.open_ids()))

    @rule(symbol=_SYMBOL, limit=st.sampled_from([1, 3, 1000]))
    def reconcile(self, symbol: str, limit: int) -> None:
        ledger, books = self.ledgers[symbol], self.books
        while True:
            events = books.events_of(symbol, ledger.last_seq, limit)
            unknown = [one for one in ledger.open_ids() if not books.knows(one)]
            known = books.symbol_seq.get(symbol, 0)
            answer = Reconciled(1, symbol, known, events, books.position(symbol), [], unknown)
            outcome = ledger.reconcile(answer)
            self._heard[symbol] += events
            if outcome.complete:
                break
        assert outcome.drift == 0
        assert not outcome.broker_behind
        assert not outcome.restored
        assert ledger.position == books.position(symbol)
        assert set(ledger.open_ids()) == set(books.resting.get(symbol, {}))

    def _deliver(self, events: Sequence[OrderEvent], arrives: bool) -> None:
        """Send to a ledger what has happened, or lose it: what comes after a hole is refused as a whole."""
        if not arrives:
            return
        symbol = events[0].symbol
        ledger = self.ledgers[symbol]
        hole = events[0].symbol_seq != ledger.last_seq + 1
        try:
            ledger.apply(*events)
        except SequenceHoleError:
            assert hole
        else:
            assert not hole
            self._heard[symbol] += events

    def _chosen(self, which: int) -> Order:
        orders = list(self.books.open.values())
        return orders[which % len(orders)]

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def money_adds_up(self) -> None:
        if not hasattr(self, "books"):
            return
        books = self.books
        everything = books.events_since(0)
        assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
        count = _recount(everything)
        assert Fraction(books.cash) == count.cash
        assert {a: Fraction(v) for a, v in books.balances.items() if v} == {
            a: v for a, v in count.other.items() if v
        }
        for symbol in _SYMBOLS:
            position = books.position(symbol)
            assert Fraction(position.quantity) == count.held[symbol]
            # At any price, what was made is the change of cash plus the value of what is held.
            for mark in (D("0.5"), D(12_345)):
                profit = position.realized_pnl + position.quantity * (mark - position.entry_price)
                exact = count.paid[symbol] + count.held[symbol] * Fraction(mark)
                assert abs(Fraction(profit) - exact) < Fraction(1, 10**9)

    @invariant()
    def a_ledger_is_the_books_of_a_moment(self) -> None:
        if not hasattr(self, "books"):
            return
        for symbol, ledger in self.ledgers.items():
            assert list(ledger.history()) == self.books.events_of(symbol, 0)[: ledger.last_seq]
            count = _recount(list(ledger.history()))
            assert Fraction(ledger.position.quantity) == count.held[symbol]
            assert ledger.irregular == 0
            if ledger.last_seq == self.books.symbol_seq.get(symbol, 0):
                assert ledger.position == self.books.position(symbol)


class _CutOffError(Exception):
    """The process ended here."""


class _Recount:
    """Sums of fractions over a history, by nothing but the meaning of its events."""

    def __init__(self) -> None:
        self.cash = Fraction(_START)
        self.held: defaultdict[str, Fraction] = defaultdict(Fraction)
        self.paid: defaultdict[str, Fraction] = defaultdict(Fraction)  # quote asset that came of each symbol
        self.other: defaultdict[str, Fraction] = defaultdict(Fraction)


def _recount(events: Sequence[OrderEvent]) -> _Recount:
    count, sides, seen = _Recount(), dict[str, Side](), set[str]()
    for event in events:
        match event:
            case OrderSubmitted(client_id=client_id, intent=intent):
                assert client_id not in sides
                sides[client_id] = intent.side
            case OrderPartiallyFilled(fill=fill) | OrderFilled(fill=fill):
                assert fill.fill_id not in seen
                seen.add(fill.fill_id)
                sign = 1 if sides[event.client_id] == "buy" else -1
                quantity, fee = sign * Fraction(fill.quantity), Fraction(fill.fee)
                quote = -quantity * Fraction(fill.price) - (fee if fill.fee_asset == "USDT" else 0)
                count.held[event.symbol] += quantity
                if event.symbol.startswith(f"{fill.fee_asset}/"):
                    count.held[event.symbol] -= fee
                elif fill.fee_asset != "USDT":
                    count.other[fill.fee_asset] -= fee
                count.paid[event.symbol] += quote
                count.cash += quote
            case FundingPaid(symbol=symbol, amount=amount):
                count.paid[symbol] += Fraction(amount)
                count.cash += Fraction(amount)
            case FundsMoved(asset="USDT", amount=amount):
                count.cash += Fraction(amount)
            case FundsMoved(asset=asset, amount=amount):
                count.other[asset] += Fraction(amount)
    return count


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
