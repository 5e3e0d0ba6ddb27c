"""Keeps a spot position protected, whatever becomes of engines, the feed, or an answer of the exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from levibot.bus.messages import (
    Intent,
    OrderCancelled,
    OrderDenied,
    OrderKind,
    OrderRejected,
    OrderUnknown,
    Role,
    Tick,
)
from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, RetryError
from levibot.exchange.trading import Placement
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.exits import Exits
from levibot.execution.live.tracking import is_over
from levibot.execution.live.wanted import ROLES, Differences, Wanted, differences, rests_here
from levibot.execution.live.watch import PriceWatch
from levibot.execution.orders import Order, OrderState
from levibot.execution.position import ZERO
from levibot.execution.precision import plain, size_refusal
from levibot.execution.refusals import Refusal
from levibot.execution.triggers import trigger_price

_FIRST_PAUSE_NS = 1_000_000_000  # after an emergency exit that failed; doubled after each
_LONGEST_PAUSE_NS = 60_000_000_000
_ASLEEP = -1


@dataclass
class _Trouble:
    """A part of the position that has to be sold, and could not be."""

    why: str = ""
    attempts: int = 0
    due_ns: int = 0  # of the next attempt; `_ASLEEP`: it is in the desk's queue
    tried: set[OrderKind] = field(default_factory=set)  # of orders that have failed: they are not fired again
    keeps_no_stop: bool = False  # the exchange has refused the stop: the broker watches the price

    def wake(self) -> None:
        """An attempt is over; if it was not judged, the next one follows soon."""
        if self.due_ns == _ASLEEP:
            self.due_ns = boot_ns() + _FIRST_PAUSE_NS


class SpotProtection:
    """`levibot.execution.live.desk.Protection` of a long position on a spot market.

    On spot a quantity can be locked by one order only. So where the exchange keeps stops, the stop has it, and
    protects while the broker is down; targets, trailing stops and limit exits rest in the broker, which watches
    the price. Where it keeps none, stops rest in the broker too. Every stop begins in the broker, and is posted
    from there: so the price is watched also between a stop's cancellation and the one that takes its place.

    Parameters
    ----------
    desk
        Of the symbol.
    """

    def __init__(self, desk: SymbolDesk) -> None:
        self._desk = desk
        self._exits = Exits(desk)
        self._watch = PriceWatch(desk, self._on_reached, self._on_followed)
        self._queued: set[str] = set()  # client ids of orders with a job in the desk's queue
        self._selling: set[str] = set()  # of orders that sell a lot, whose end is still to be judged
        self._troubles: dict[str, _Trouble] = {}  # by the client id of the entry

    # ------------------------------------------------------------------ what is so

    def is_covered(self) -> bool:
        """Tell whether nothing of the position, dust left out, is without a stop."""
        if self._troubles:
            return False
        open_ = self._exits.rest()
        for order in self._desk.orders:
            if order.intent.kind == "stop" or (order in self._desk.posted and order.intent.reduce_only):
                open_ -= order.remaining
        if open_ <= 0:
            return True
        quote = self._desk.quote()
        price = quote.bid if quote else self._desk.position.entry_price
        return price > 0 and size_refusal(open_, price, self._desk.market) is not None

    def trouble(self) -> str:
        """Why the position is neither covered nor closed, though it should be; empty: it is well."""
        return next((f"emergency exit failed: {trouble.why}" for trouble in self._troubles.values()), "")

    # ------------------------------------------------------------------ what comes in

    def on_price(self, tick: Tick) -> None:
        """Compare a price with what rests in the broker."""
        self._watch.on_tick(tick)

    def on_timer(self, now_ns: int) -> None:
        """Ask for prices if the feed is silent, and try again what has failed."""
        self._watch.on_timer(now_ns)
        for entry_id, trouble in self._troubles.items():
            if 0 <= trouble.due_ns <= now_ns:
                trouble.due_ns = _ASLEEP
                self._desk.do(partial(self._try_again, entry_id), urgent=True)

    async def on_filled(self, order: Order) -> None:
        """Cancel what a fill makes needless, and cover what it has changed."""
        if order.oco:
            for other in self._desk.orders:
                if other.oco == order.oco and other is not order:
                    why = f"the other order of the pair, {order.intent.client_id}, was filled"
                    await self._desk.withdraw(other, Refusal.OCO.because(why))
        await self.review()

    async def on_ended(self, order: Order) -> None:
        """See whether the end of an order leaves something to be covered."""
        self._judge(order)
        await self.review()

    async def exit(self, order: Order) -> None:
        """Carry out an order that reduces: sell, or let it wait in the broker."""
        await self._carry_out(order)
        await self.review()

    async def review(self) -> None:
        """Carry on what a life before has begun, and have what rests agree with what should."""
        open_ = {one.entry_id for one in self._exits.wanted()}
        self._troubles = {entry: trouble for entry, trouble in self._troubles.items() if entry in open_}
        for begun in self._desk.orders:
            if begun.intent.reduce_only and begun.state in (OrderState.SUBMITTED, OrderState.TRIGGERED):
                await self._carry_out(begun)
        if not self._exits.rest():
            await self._withdraw_spent()
        await self._rearrange()
        while (order := self._next_to_post()) is not None:
            await self._post_stop(order)
            await self._rearrange()

    # ------------------------------------------------------------------ exits

    async def _carry_out(self, order: Order) -> None:
        if order.state is OrderState.SUBMITTED and self._waits(order.intent):
            if order.intent.post_only:
                why = Refusal.POST_ONLY.because(
                    "an exit cannot wait in the broker and be that, and the stop has the quantity: make it a limit"
                )
                await self._desk.journal.write(lambda: self._desk.books.deny(order, why))
            else:
                await self._desk.journal.write(lambda: self._desk.books.accept(order))
        else:
            await self._sell(order)

    def _waits(self, intent: Intent) -> bool:
        """Whether an order that reduces waits in the broker for its price."""
        if intent.kind in ROLES:
            return True
        if intent.kind != "limit" or intent.time_in_force == "ioc":
            return False
        return self._stops_are_posted() and any(one.kind == "stop" for one in self._exits.wanted())

    async def _sell(self, order: Order, *, ask_balance: bool = False) -> None:
        if order.intent.parent_id is not None:
            self._selling.add(order.intent.client_id)
        await self._exits.sell(order, ask_balance=ask_balance)
        if is_over(order):
            self._judge(order)

    def _judge(self, order: Order) -> None:
        """Remember a part of the position that should have been sold, and was not."""
        entry_id = order.intent.parent_id
        if entry_id is None or order.intent.client_id not in self._selling:
            return
        self._selling.discard(order.intent.client_id)
        if not any(one.entry_id == entry_id for one in self._exits.wanted()):
            self._troubles.pop(entry_id, None)
            return
        trouble = self._troubles.setdefault(entry_id, _Trouble())
        pause_ns = min(_FIRST_PAUSE_NS << min(trouble.attempts, 16), _LONGEST_PAUSE_NS)
        trouble.attempts += 1
        trouble.due_ns = boot_ns() + pause_ns
        trouble.tried.add(order.intent.kind)
        trouble.why = self._end_of(order)
        self._desk.tell_trouble(
            f"{order.intent.role} {order.intent.client_id} has not closed the position: {trouble.why};"
            f" attempt {trouble.attempts + 1} follows in {pause_ns / 1e9:.0f} s"
        )

    async def _try_again(self, entry_id: str) -> None:
        trouble = self._troubles.get(entry_id)
        if trouble is None:
            return
        wanted = next((one for one in self._exits.wanted() if one.entry_id == entry_id), None)
        if wanted is None:
            self._troubles.pop(entry_id)
            return
        try:
            await self._leave(wanted.entry_id, wanted.quantity, ask_balance=True)
        except (RetryError, BackOffError, ExchangeRefusedError) as error:
            self._desk.tell_trouble(f"an emergency exit waits: {error}")
        finally:
            trouble.wake()
        await self.review()

    async def _leave(self, entry_id: str, quantity: Decimal, *, ask_balance: bool = False) -> None:
        """Sell what cannot be protected, at the market."""
        made: list[Order] = []
        books = self._desk.books

        def submit() -> None:
            intent = self._intent("emergency", "market", entry_id, quantity)
            made.append(books.submit(intent, intent))

        await self._desk.journal.write(submit)
        await self._sell(made[-1], ask_balance=ask_balance)

    # ------------------------------------------------------------------ what rests

    async def _withdraw_spent(self) -> None:
        """Nothing is left to reduce."""
        for order in self._desk.orders:
            if order.intent.reduce_only and order.state is OrderState.ACCEPTED:
                await self._desk.withdraw(order, Refusal.NOTHING_TO_REDUCE.because("the position is closed"))

    async def _rearrange(self) -> None:
        """Have as many orders, of as large sizes, as there should be; all that is new rests in the broker."""
        while found := differences(self._exits.wanted(), self._desk.orders):
            outside = [order for order, _ in found.resized] + found.needless
            outside = [order for order in outside if not rests_here(order)]
            for order in outside:
                await self._desk.withdraw(order, Refusal.REPLACED.because("by one of another size"))
            if not outside:
                await self._desk.journal.write(partial(self._apply, found))

    def _apply(self, found: Differences) -> None:
        books = self._desk.books
        for order in found.needless:
            books.cancel(order, Refusal.NOTHING_TO_REDUCE.because("what it protected is closed"))
        for order, quantity in found.resized:
            books.update(order, quantity, order.intent.trigger_price)
        for one in found.missing:
            intent = self._intent(ROLES[one.kind], one.kind, one.entry_id, one.quantity, one)
            books.accept(books.submit(intent, intent))

    def _intent(
        self, role: Role, kind: OrderKind, entry_id: str, quantity: Decimal, terms: Wanted | None = None
    ) -> Intent:
        books = self._desk.books
        return Intent(
            client_id=books.new_client_id(role),
            symbol=self._desk.symbol,
            side="sell",
            kind=kind,
            quantity=quantity,
            role=role,
            event_ms=books.event_ms,
            reduce_only=True,
            trigger_price=terms.trigger if terms else None,
            trailing_offset=terms.offset if terms else None,
            parent_id=entry_id,
        )

    def _stops_are_posted(self) -> bool:
        return self._desk.trading.keeps_stops(self._desk.symbol)

    def _next_to_post(self) -> Order | None:
        """A stop that rests in the broker, and could be on the exchange, or sold if its price is reached."""
        if not self._stops_are_posted() or self._exits.is_selling():
            return None
        return next((order for order in self._desk.orders if self._is_to_be_posted(order)), None)

    def _is_to_be_posted(self, order: Order) -> bool:
        intent = order.intent
        if intent.kind != "stop" or intent.parent_id is None or not rests_here(order):
            return False
        trouble = self._troubles.get(intent.parent_id)
        return trouble is None or not (trouble.keeps_no_stop or self._watch.is_reached(order))

    async def _post_stop(self, order: Order) -> None:
        """Give a stop to the exchange; sell if the price is beyond it already, or the exchange refuses it."""
        intent, books = order.intent, self._desk.books
        tick = self._desk.tick
        if self._watch.is_reached(order) and tick is not None:
            await self._fire(order, Decimal(repr(trigger_price(tick, intent.side))))
            return
        since = books.symbol_seq[intent.symbol]
        placement = Placement(
            intent.client_id,
            intent.symbol,
            "sell",
            "stop",
            intent.quantity,
            trigger_price=intent.trigger_price,
            is_protective=True,
        )
        await self._desk.posting.post(order, placement)
        was_lost = any(isinstance(event, OrderUnknown) for event in self._events_of(order, since))
        if order.state is OrderState.REJECTED and not was_lost and intent.parent_id is not None:
            why = self._end_of(order)
            self._desk.tell_trouble(
                f"stop {intent.client_id} at {plain(intent.trigger_price or ZERO)} could not be placed, so"
                f" {plain(intent.quantity)} is sold: {why}"
            )
            trouble = self._troubles.setdefault(intent.parent_id, _Trouble(why, due_ns=_ASLEEP))
            trouble.keeps_no_stop = True
            try:
                await self._leave(intent.parent_id, intent.quantity)
            finally:
                trouble.wake()

    # ------------------------------------------------------------------ prices

    def _on_reached(self, order: Order, price: Decimal) -> None:
        client_id = order.intent.client_id
        trouble = self._troubles.get(order.intent.parent_id or "")
        if client_id in self._queued or (trouble is not None and order.intent.kind in trouble.tried):
            return
        self._queued.add(client_id)

        async def act() -> None:
            self._queued.discard(client_id)
            await self._fire(order, price)
            await self.review()

        self._desk.do(act, urgent=True)

    async def _fire(self, order: Order, price: Decimal) -> None:
        if rests_here(order):
            await self._desk.journal.write(lambda: self._desk.books.trigger(order, price))
            await self._sell(order)

    def _on_followed(self, order: Order, trigger: Decimal) -> None:
        client_id = order.intent.client_id
        if client_id in self._queued:
            return
        self._queued.add(client_id)

        async def act() -> None:
            self._queued.discard(client_id)
            if rests_here(order):
                quantity = order.intent.quantity
                await self._desk.journal.write(lambda: self._desk.books.update(order, quantity, trigger))

        self._desk.do(act, urgent=True)

    # ------------------------------------------------------------------ words

    def _end_of(self, order: Order) -> str:
        """Why an order came to nothing, by the last that the books say of it."""
        since = self._desk.books.symbol_seq[order.intent.symbol] - 20
        told = [
            event.reason
            for event in self._events_of(order, since)
            if isinstance(event, OrderCancelled | OrderDenied | OrderRejected)
        ]
        return told[-1] if told else f"it is {order.state}"

    def _events_of(self, order: Order, since: int) -> list[object]:
        events = self._desk.books.events_of(order.intent.symbol, since)
        return [event for event in events if event.client_id == order.intent.client_id]
