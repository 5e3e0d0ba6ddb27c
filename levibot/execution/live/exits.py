"""Leaving a spot position: a journaled sequence that sells what there is, and nothing twice."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages import Intent
from levibot.exchange.trading import Balance, Placement
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.tracking import is_over
from levibot.execution.live.wanted import Wanted, wanted_for
from levibot.execution.lots import Lots, held, less, taken_in_turn
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO, base_of
from levibot.execution.precision import floor_to, plain, size_refusal
from levibot.execution.refusals import Refusal

_NOTHING = Refusal.NOTHING_TO_REDUCE.because("nothing left to reduce")


class Exits:
    """Sells for orders that reduce the position of one symbol; in jobs of its desk, one at a time.

    An exchange locks what a resting order would sell, so the sequence is: the order is journaled; what locks the
    asset is cancelled, by the exchange's own word, and what that filled meanwhile is counted; the order is
    journaled as sent, with what is left to sell; it is posted, and followed to its end. A crash at any step
    leaves in the books which step comes next.

    Parameters
    ----------
    desk
        Of the symbol.
    """

    def __init__(self, desk: SymbolDesk) -> None:
        self._desk = desk

    # ------------------------------------------------------------------ what there is

    def lots(self) -> Lots:
        """What is left of each entry, as far as it is there: fees and withdrawals may have taken of the asset."""
        lots = self._desk.books.lots.get(self._desk.symbol, ())
        return less(lots, max(held(lots) - self._desk.sellable(), ZERO))

    def wanted(self) -> list[Wanted]:
        """Protection that the position should have."""
        return wanted_for(self.lots(), self._desk.market)

    def rest(self) -> Decimal:
        """All that can be sold, in the steps of the market."""
        return floor_to(self._desk.sellable(), self._desk.market.amount_step)

    def due(self, intent: Intent, remaining: Decimal) -> Decimal:
        """How much an order still has to sell: of its entry's part if it belongs to one, else of all."""
        if intent.parent_id is None:
            room = self.rest()
        else:
            room = next((one.quantity for one in self.wanted() if one.entry_id == intent.parent_id), ZERO)
        return min(floor_to(remaining, self._desk.market.amount_step), room)

    def is_selling(self) -> bool:
        """Tell whether an order that is no stop of an entry has some of the asset locked."""
        return any(order.intent.kind != "stop" or order.intent.parent_id is None for order in self._locks())

    # ------------------------------------------------------------------ the sequence

    async def sell(self, order: Order, *, ask_balance: bool = False) -> None:
        """Carry out an order that is SUBMITTED or TRIGGERED; at the end it is at its end, or on the exchange.

        Parameters
        ----------
        ask_balance
            Sell no more than the exchange calls free; for after a refusal, since it costs a request.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The balance could not be read; nothing was sent.
        """
        await self._make_room(order)
        if is_over(order):
            return
        desk, books = self._desk, self._desk.books
        quantity = self.due(order.intent, order.remaining)
        missing = desk.missing
        if ask_balance and quantity:
            balance = (await desk.trading.balances()).get(base_of(desk.symbol), Balance(ZERO, ZERO))
            missing += max(desk.sellable() - balance.total, ZERO)
            quantity = min(quantity, floor_to(balance.free, desk.market.amount_step))
        if missing and (not quantity or self._size_refusal(order.intent, quantity)):
            await desk.journal.write(lambda: books.deny(order, self._no_base(missing)))
        elif not quantity and not self._has_any(order.intent):
            await desk.journal.write(lambda: books.cancel(order, _NOTHING))
        elif not quantity:
            await desk.journal.write(lambda: books.deny(order, self._dust()))
        elif refusal := self._size_refusal(order.intent, quantity):
            await desk.journal.write(lambda: books.deny(order, Refusal.DUST.because(refusal)))
        else:
            await desk.posting.post(order, _placement(order, quantity))

    async def _make_room(self, order: Order) -> None:
        """Cancel as many orders as hold what this one sells: first those of its own entry, then the oldest."""
        turn = [lot.entry_id for lot in taken_in_turn(self.lots(), order.intent.parent_id)]
        places = {entry_id: place for place, entry_id in enumerate(turn)}
        locks = [lock for lock in self._locks() if lock is not order]
        locks.sort(key=lambda lock: places.get(lock.intent.parent_id or "", len(places)))
        for place, lock in enumerate(locks):
            locked = sum((one.remaining for one in locks[place:]), ZERO)
            if self.due(order.intent, order.remaining) <= self.rest() - locked:
                return
            why = Refusal.REPLACED.because(f"makes room for {order.intent.client_id}")
            await self._desk.withdraw(lock, why)

    def _locks(self) -> list[Order]:
        return [order for order in self._desk.posted if order.intent.reduce_only]

    def _has_any(self, intent: Intent) -> bool:
        if intent.parent_id is None:
            return self._desk.sellable() > 0
        return any(lot.entry_id == intent.parent_id for lot in self.lots())

    def _no_base(self, missing: Decimal) -> str:
        desk = self._desk
        return Refusal.NO_BASE.because(
            f"the books hold {plain(desk.position.quantity)} {desk.market.base}, and the exchange"
            f" {plain(missing)} less; if it was sold by hand, `levibotctl settle {desk.symbol}` books that"
        )

    def _dust(self) -> str:
        market = self._desk.market
        amount = f"{plain(self._desk.sellable())} {market.base}"
        return Refusal.DUST.because(f"{amount} is too small to be sold, and stays")

    def _size_refusal(self, intent: Intent, quantity: Decimal) -> str | None:
        quote = self._desk.quote()
        price = intent.limit_price or (quote.bid if quote else self._desk.position.entry_price)
        return size_refusal(quantity, price, self._desk.market) if price > 0 else None


def _placement(order: Order, quantity: Decimal) -> Placement:
    """How an exit is posted: stops and targets at the market, a limit that was waited for immediate or cancel."""
    intent = order.intent
    if intent.kind != "limit":
        return Placement(intent.client_id, intent.symbol, intent.side, "market", quantity, is_protective=True)
    return Placement(
        intent.client_id,
        intent.symbol,
        intent.side,
        "limit",
        quantity,
        limit_price=intent.limit_price,
        time_in_force="ioc" if order.state is OrderState.TRIGGERED else intent.time_in_force,
        post_only=intent.post_only,
        is_protective=True,
    )
