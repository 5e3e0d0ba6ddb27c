"""How the paper exchange fills orders: as takers, as makers, by triggers; and what follows from each fill."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from levibot.bus.messages import Fill, MarketSpec
from levibot.execution.books import Books
from levibot.execution.checks import is_conditional, may_open_risk, reducible
from levibot.execution.collateral import cash_taken, opening, reserve_for
from levibot.execution.depth import Slice
from levibot.execution.orders import Order, OrderState
from levibot.execution.paper_market import PaperMarket
from levibot.execution.paper_protection import Protection
from levibot.execution.position import ZERO
from levibot.execution.precision import MONEY_STEP, fee_of, plain
from levibot.execution.refusals import Refusal
from levibot.execution.triggers import is_reached, trailed, trigger_price

_FIRST = {"stop": 0, "trailing_stop": 0, "market": 1, "take_profit": 2, "limit": 3}


class Matching:
    """Trades orders that have arrived; all in a transaction of the books.

    Parameters
    ----------
    books
        The account.
    protection
        Of entries.
    clock
        CLOCK_BOOTTIME in ns.
    """

    def __init__(self, books: Books, protection: Protection, clock: Callable[[], int]) -> None:
        self._books = books
        self._protection = protection
        self._clock = clock

    # ------------------------------------------------------------------ arrival

    def arrive(self, order: Order, market: PaperMarket, *, wait: bool = False) -> None:
        """The order is at the exchange: it trades, or rests."""
        intent = order.intent
        if market.spec is None or wait or market.unfit(self._clock()):  # an exit: it waits for the next price
            self._books.accept(order)
        elif intent.kind == "limit":
            self._arrive_limit(order, market)
        else:
            self._books.accept(order)
            if not is_conditional(intent):
                self._take(order, market)
            else:
                self._follow(order, market)
                if self._is_due(order, market):
                    self._carry_out(order, market)

    def _arrive_limit(self, order: Order, market: PaperMarket) -> None:
        intent, limit = order.intent, order.intent.limit_price or ZERO
        crosses = market.crosses(intent.side, limit)
        if crosses and intent.post_only:
            best = market.best(intent.side)
            reason = f"{plain(limit)} would cross the market, {plain(best) if best else 'empty'}"
            self._books.reject(order, Refusal.POST_ONLY.because(reason))
            return
        self._books.accept(order, self.needed(order, market))
        if crosses or intent.time_in_force == "ioc":
            self._take(order, market)
        if intent.client_id in self._books.open:
            market.begin_rest(intent.client_id)
            market.queue([(intent, order.limit)])

    def needed(self, order: Order, market: PaperMarket) -> Decimal:
        """Cash to be set aside for an order that opens risk."""
        intent = order.intent
        if not may_open_risk(intent) or market.spec is None:
            return ZERO
        price = intent.limit_price or market.price(intent.side, intent.quantity) or ZERO
        return reserve_for(self._opening(order), price, market.spec)

    def _opening(self, order: Order) -> Decimal:
        held = self._books.position(order.intent.symbol).quantity
        return opening(order.intent, order.remaining, held, self._books.selling(order.intent))

    # ------------------------------------------------------------------ what prices bring about

    def match(self, market: PaperMarket) -> None:
        resting = self._books.resting.get(market.symbol, {})
        for order in resting.values():
            self._follow(order, market)
        due = [order for order in resting.values() if self._is_due(order, market)]
        for order in sorted(due, key=lambda order: _FIRST[order.intent.kind]):
            if order.intent.client_id in resting:  # else cancelled by one before it
                self._carry_out(order, market)

    def moves(self, order: Order, market: PaperMarket) -> bool:
        return self._is_due(order, market) or self._trail(order, market) is not None

    def _is_due(self, order: Order, market: PaperMarket) -> bool:
        """Whether an order that has arrived can be filled now, at least in part."""
        intent = order.intent
        if order.state is OrderState.SENT or (may_open_risk(intent) and not market.is_open):
            return False
        assert market.tick is not None
        if is_conditional(intent) and order.state is OrderState.ACCEPTED:
            return is_reached(intent, order.trigger, trigger_price(market.tick, intent.side))
        if intent.limit_price is None or intent.time_in_force == "ioc":
            return True
        return market.is_through(intent.side, order.limit, intent.client_id)

    def _trail(self, order: Order, market: PaperMarket) -> Decimal | None:
        """New trigger of a trailing stop, if the price has moved far enough."""
        if order.intent.kind != "trailing_stop" or order.state is not OrderState.ACCEPTED:
            return None
        assert market.tick is not None
        return trailed(order.intent, Decimal(repr(trigger_price(market.tick, order.intent.side))))

    def _follow(self, order: Order, market: PaperMarket) -> None:
        """Move a trailing stop after the price."""
        trigger = self._trail(order, market)
        if trigger is not None:
            self._books.update(order, order.intent.quantity, trigger)

    def _carry_out(self, order: Order, market: PaperMarket) -> None:
        intent = order.intent
        if is_conditional(intent) and order.state is OrderState.ACCEPTED:
            assert market.tick is not None
            self._books.trigger(order, Decimal(repr(trigger_price(market.tick, intent.side))))
            market.begin_rest(intent.client_id)
            self._take(order, market)
            self._withdraw(order)
        elif intent.limit_price is None or intent.time_in_force == "ioc":
            self._take(order, market)
        else:
            self._make(order, market)

    # ------------------------------------------------------------------ fills

    def _take(self, order: Order, market: PaperMarket) -> None:
        """Trade with those who are there, up to the order's limit; what then becomes of the rest."""
        intent, books = order.intent, self._books
        quantity = self._allowed(order, market)
        slices = market.plan(intent.side, quantity, intent.limit_price)
        short = self._cash_short(order, slices, market, taker=True)
        if short:
            books.cancel(order, short)
            return
        market.take(intent.side, slices)
        self._execute(order, slices, market, taker=True)
        if intent.client_id not in books.open:
            return
        if intent.time_in_force == "ioc":
            books.cancel(order, Refusal.IOC.because(f"{plain(order.remaining)} could not be filled at once"))
        elif intent.limit_price is None and may_open_risk(intent):
            reason = f"nobody is left in the book for {plain(order.remaining)}"
            books.cancel(order, Refusal.BOOK_EXHAUSTED.because(reason))
        self.cover(order, market)

    def _make(self, order: Order, market: PaperMarket) -> None:
        """The market has come to a resting limit order."""
        limit, quantity = order.intent.limit_price or ZERO, self._allowed(order, market)
        slices = market.plan(order.intent.side, quantity, limit) if market.depth else [Slice(quantity, limit)]
        if self.make(order, sum((part.quantity for part in slices), ZERO), market):
            market.take(order.intent.side, slices)

    def make(self, order: Order, quantity: Decimal, market: PaperMarket) -> bool:
        """A resting limit order gets so much, at its limit; tell whether it could be paid."""
        slices = [Slice(quantity, order.intent.limit_price or ZERO)] if quantity else []
        short = self._cash_short(order, slices, market, taker=False)
        if short:
            self._books.cancel(order, short)
            self.cover(order, market)
        else:
            self._execute(order, slices, market, taker=False)
        return not short

    def _allowed(self, order: Order, market: PaperMarket) -> Decimal:
        """Quantity that may still be filled: no exit closes more than there is, nothing goes short on spot."""
        assert market.spec is not None
        may_turn = order.intent.side == "buy" or market.spec.can_short
        if not order.intent.reduce_only and may_turn:
            return order.remaining
        return min(order.remaining, reducible(order.intent, self._books.position(order.intent.symbol)))

    def _execute(self, order: Order, slices: list[Slice], market: PaperMarket, *, taker: bool) -> None:
        """Write fills down, and do what follows from them."""
        books, intent = self._books, order.intent
        assert market.spec is not None
        filled = False
        for offered, price in slices:
            part = Slice(min(offered, self._allowed(order, market)), price)
            if part.quantity <= 0:
                break
            filled = True
            fill = self._fill(order, part, market.spec, taker=taker)
            order.reserved = self._kept(order, [part], market.spec)
            books.fill(order, fill)
        if intent.client_id in books.open and not self._allowed(order, market):
            books.cancel(order, Refusal.NOTHING_TO_REDUCE.because("nothing is left of the position"))
        if not filled:
            return
        self._withdraw(order)
        self._protection.trim(market)  # an entry against the position makes it smaller, too
        self.cover(order, market)

    def _cash_short(self, order: Order, slices: list[Slice], market: PaperMarket, *, taker: bool) -> str | None:
        """Why the cash does not suffice to the last digit, after each fill's fee was rounded up; None: it does.

        A sale may go shorter, or at a better price, than was set aside for; what was is the order's own, whatever
        has been paid meanwhile.
        """
        intent, books = order.intent, self._books
        if intent.reduce_only or not slices:
            return None
        assert market.spec is not None
        fills = [self._fill(order, part, market.spec, taker=taker) for part in slices]
        needed = cash_taken(books.position(intent.symbol), intent, fills, books.quote)
        needed += self._kept(order, slices, market.spec)
        free = max(books.available_cash(), ZERO) + order.reserved
        return None if needed <= free else Refusal.NO_CASH.because(f"{plain(needed)} needed, {plain(free)} free")

    def _fill(self, order: Order, part: Slice, market: MarketSpec, *, taker: bool) -> Fill:
        """The next fill, its fee rounded up: once for the order, as what was set aside for it, not each time."""
        quantity, price = part
        cost = quantity * price
        fee = fee_of(cost, market.taker_fee if taker else market.maker_fee)
        missing = cost + fee + self._kept(order, [part], market) - order.reserved
        if order.reserved and order.intent.side == "buy" and 0 < missing <= MONEY_STEP:
            fee -= missing
        liquidity: Literal["maker", "taker"] = "taker" if taker else "maker"
        return Fill(f"fill-{self._books.seq + 1}", quantity, price, fee, market.quote, liquidity)

    def _kept(self, order: Order, slices: list[Slice], market: MarketSpec) -> Decimal:
        """What stays set aside for an order after these fills, its next."""
        filled = sum((part.quantity for part in slices), ZERO)
        left = min(order.remaining - filled, self._opening(order))  # what opens is filled last
        return min(order.reserved, reserve_for(left, order.intent.limit_price or slices[-1].price, market))

    # ------------------------------------------------------------------ what follows

    def _withdraw(self, order: Order) -> None:
        """Cancel what the filled or fired order makes pointless."""
        books, symbol = self._books, order.intent.symbol
        position, client_id = books.position(symbol), order.intent.client_id
        for other in list(books.resting.get(symbol, {}).values()):
            if other is order:
                continue
            if order.oco and other.oco == order.oco:
                books.cancel(other, Refusal.OCO.because(f"the other order of the group, {client_id}, was filled"))
            elif other.intent.client_id == order.intent.parent_id:
                books.cancel(other, Refusal.STOPPED.because("its protection fired before all of it was filled"))
            elif other.intent.reduce_only and not reducible(other.intent, position):
                books.cancel(other, Refusal.NOTHING_TO_REDUCE.because("the position is closed"))

    def cover(self, entry: Order, market: PaperMarket) -> None:
        """Protect what is filled of an entry, and act on protection that the price has passed already."""
        if market.spec is None or not may_open_risk(entry.intent):
            return
        leaving = self._protection.cover(entry, market)
        if leaving is not None:
            self.arrive(leaving, market)
        if market.unfit(self._clock()):
            return
        for child in list(self._books.resting.get(market.symbol, {}).values()):
            is_ours = child.intent.parent_id == entry.intent.client_id and is_conditional(child.intent)
            if is_ours and child.intent.client_id in self._books.open and self._is_due(child, market):
                self._carry_out(child, market)
