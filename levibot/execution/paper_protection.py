"""Stops, trailing stops and targets of the paper exchange: as large as what is filled, never larger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from levibot.bus.messages import Intent, OrderKind, Role
from levibot.execution.books import Books
from levibot.execution.checks import dust_refusal, is_conditional, is_stop, reducible
from levibot.execution.orders import Order, OrderState
from levibot.execution.paper_market import PaperMarket
from levibot.execution.position import ZERO, opposite, signed
from levibot.execution.precision import is_dust, plain, size_refusal
from levibot.execution.refusals import Refusal
from levibot.execution.triggers import trigger_price


class _Wanted(NamedTuple):
    kind: OrderKind
    role: Role
    trigger: Decimal
    offset: Decimal | None = None


class Protection:
    """Places protective orders for the fills of entries; those of one entry cancel each other.

    Parameters
    ----------
    books
        The account; every method but the questions is called in a transaction.
    """

    def __init__(self, books: Books) -> None:
        self._books = books

    # ------------------------------------------------------------------ after an entry was filled

    def cover(self, entry: Order, market: PaperMarket) -> Order | None:
        """Make the protection of `entry` as large as what is filled of it.

        What would be too small for a stop waits for the next fill, or for the end of the entry.

        Returns
        -------
        Order
            An exit that is to be carried out at once, for no stop could be placed; None: all is well.
        """
        assert market.spec is not None
        wanted = list(_wanted(entry, market))
        group = self._group(entry)
        protected = max((child.intent.quantity for child in group), default=ZERO)
        amount = min(entry.filled - protected, self._uncovered(entry.intent))
        if not wanted or amount <= 0:
            return None
        if group:
            for child in group:
                self._books.update(child, child.intent.quantity + amount, child.intent.trigger_price)
            return None
        worst = min(one.trigger for one in wanted)
        if entry.intent.client_id in self._books.open and is_dust(amount, worst, market.spec):
            return None
        for one in wanted:
            child = self._child(entry, one, amount)
            reason = size_refusal(amount, one.trigger, market.spec)
            if reason is None:
                self._books.accept(child)
                continue
            self._books.deny(child, Refusal.DUST.because(reason))
            if one.role == "stop":
                return self._leave(entry, amount, market, reason)
        return None

    def _leave(self, entry: Order, amount: Decimal, market: PaperMarket, why: str) -> Order | None:
        """Sell what cannot be protected; what cannot be sold either is dust."""
        assert market.spec is not None
        leaving = self._child(entry, _Wanted("market", "emergency", ZERO), amount)
        price = market.price(leaving.intent.side, amount) or entry.intent.stop_loss or ZERO
        reason = dust_refusal(amount, price, market.spec) if price else None
        if reason:
            self._books.deny(leaving, f"{reason}; unprotected, for its stop: {why}")
            return None
        return leaving

    def _child(self, entry: Order, wanted: _Wanted, quantity: Decimal) -> Order:
        intent = Intent(
            client_id=self._books.new_client_id(wanted.role),
            symbol=entry.intent.symbol,
            side=opposite(entry.intent.side),
            kind=wanted.kind,
            quantity=quantity,
            role=wanted.role,
            event_ms=self._books.event_ms,
            reduce_only=True,
            trigger_price=wanted.trigger or None,
            trailing_offset=wanted.offset,
            parent_id=entry.intent.client_id,
        )
        return self._books.submit(intent, intent, f"protects-{entry.intent.client_id}")

    def _group(self, entry: Order) -> list[Order]:
        """Protective orders of an entry that rest."""
        return [
            order
            for order in self._conditional(entry.intent.symbol)
            if order.intent.parent_id == entry.intent.client_id
        ]

    # ------------------------------------------------------------------ after the position became smaller

    def trim(self, market: PaperMarket) -> None:
        """Make the broker's own protective orders no larger than the position, the oldest first."""
        assert market.spec is not None
        held = abs(self._books.position(market.symbol).quantity)
        for kind in ("stop", "trailing_stop", "take_profit"):
            orders = [o for o in self._conditional(market.symbol) if o.intent.kind == kind and o.intent.parent_id]
            excess = sum((order.remaining for order in orders), ZERO) - held
            for order in orders:
                if excess <= 0:
                    break
                cut = min(excess, order.remaining)
                excess -= cut
                self._shrink(order, order.remaining - cut, market)

    def _shrink(self, order: Order, left: Decimal, market: PaperMarket) -> None:
        assert market.spec is not None
        trigger = order.intent.trigger_price
        if not left:
            self._books.cancel(order, Refusal.NOTHING_TO_REDUCE.because("what it protected is sold"))
        elif is_dust(left, trigger or ZERO, market.spec):
            amount = f"{plain(left)} {market.spec.base}"
            self._books.cancel(order, Refusal.DUST.because(f"{amount} is left, too little for an order"))
        else:
            self._books.update(order, order.filled + left, trigger)

    # ------------------------------------------------------------------ questions

    def _uncovered(self, entry: Intent) -> Decimal:
        """Part of a position that no protective order stands for; none of it if the entry only made it smaller."""
        if signed(entry.side, self._books.position(entry.symbol).quantity) <= 0:
            return ZERO
        return self._less_covered(entry.symbol, list(self._conditional(entry.symbol)))

    def without_stop(self, symbol: str) -> Decimal:
        """Part of a position that no stop stands for, those that have fired included."""
        resting = self._books.resting.get(symbol, {}).values()
        return self._less_covered(symbol, [order for order in resting if is_stop(order.intent)])

    def _less_covered(self, symbol: str, orders: list[Order]) -> Decimal:
        position = self._books.position(symbol)
        covered: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in orders:
            if reducible(order.intent, position):
                group = order.oco or order.intent.client_id
                covered[group] = max(covered[group], order.remaining)
        return abs(position.quantity) - sum(covered.values(), ZERO)

    def _conditional(self, symbol: str) -> Iterator[Order]:
        """Protective orders that have not fired."""
        for order in self._books.resting.get(symbol, {}).values():
            if is_conditional(order.intent) and order.state is OrderState.ACCEPTED:
                yield order


def _wanted(entry: Order, market: PaperMarket) -> Iterator[_Wanted]:
    intent = entry.intent
    if intent.stop_loss is not None:
        yield _Wanted("stop", "stop", intent.stop_loss)
    if intent.trailing_stop is not None and market.tick is not None:
        price = Decimal(repr(trigger_price(market.tick, opposite(intent.side))))
        trigger = price - signed(intent.side, intent.trailing_stop)
        if trigger > 0:
            yield _Wanted("trailing_stop", "stop", trigger, intent.trailing_stop)
    if intent.take_profit is not None:
        yield _Wanted("take_profit", "take_profit", intent.take_profit)
