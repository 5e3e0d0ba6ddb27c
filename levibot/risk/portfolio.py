"""The account as the broker tells it, valued at the feed's prices.

Nothing here comes from an engine, so the loss of a dead engine's position counts like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from levibot.bus.messages import (
    TERMINAL,
    AccountSnapshot,
    FundingPaid,
    FundsMoved,
    Intent,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Tick,
)
from levibot.errors import RetryError
from levibot.execution.position import ZERO, after_fill, cash_flow, flat


class AccountBehindError(RetryError):
    """The events do not continue the account as it is known: ask the broker for a snapshot."""


@dataclass(slots=True)
class _Order:
    intent: Intent
    remaining: Decimal


class Portfolio:
    """Cash, positions, open orders and prices.

    Attributes
    ----------
    quote
        Asset in which the account is kept; empty before the first snapshot.
    cash
        Balance of `quote`.
    positions
        Open positions by symbol.
    seq
        Last event of the broker that is counted in; None before the first snapshot.
    """

    def __init__(self) -> None:
        self.quote = ""
        self.cash = ZERO
        self.positions: dict[str, Position] = {}
        self.seq: int | None = None
        self._orders: dict[str, _Order] = {}
        self._marks: dict[str, Tick] = {}

    def restore(self, snapshot: AccountSnapshot) -> None:
        """Take the whole account from the broker.

        A snapshot does not say how much of an open order is filled. The filled part of an entry then
        counts twice until the order ends: too careful rather than too bold.
        """
        self.quote = snapshot.quote
        self.cash = snapshot.cash
        self.positions = {held.symbol: held for held in snapshot.positions if held.quantity}
        self._orders = {intent.client_id: _Order(intent, intent.quantity) for intent in snapshot.open_orders}
        self.seq = snapshot.seq

    def apply(self, event: OrderEvent) -> bool:
        """Count one event of the broker in; False if it was counted in before.

        Raises
        ------
        AccountBehindError
            If events before it are missing, or it fills an order that is not known.
        """
        if self.seq is None or event.seq > self.seq + 1:
            raise AccountBehindError(f"event {event.seq} came after {self.seq}")
        if event.seq <= self.seq:
            return False
        if isinstance(event, OrderSubmitted):
            self._orders[event.client_id] = _Order(event.intent, event.intent.quantity)
        elif isinstance(event, OrderPartiallyFilled | OrderFilled):
            self._fill(event)
        elif isinstance(event, FundingPaid):
            self._fund(event)
        elif isinstance(event, FundsMoved) and event.asset == self.quote:
            self.cash += event.amount
        if isinstance(event, TERMINAL):
            self._orders.pop(event.client_id, None)
        self.seq = event.seq
        return True

    def _fill(self, event: OrderPartiallyFilled | OrderFilled) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            raise AccountBehindError(f"event {event.seq} fills order {event.client_id}, which is not known")
        order.remaining = max(ZERO, order.remaining - event.fill.quantity)
        held = self.positions.get(event.symbol, flat(event.symbol))
        held = after_fill(held, order.intent.side, event.fill)
        self.cash += cash_flow(order.intent.side, event.fill, self.quote)
        if held.quantity:
            self.positions[event.symbol] = held
        else:
            self.positions.pop(event.symbol, None)

    def _fund(self, event: FundingPaid) -> None:
        self.cash += event.amount
        held = self.positions.get(event.symbol)
        if held is not None:
            realized = held.realized_pnl + event.amount
            self.positions[event.symbol] = msgspec.structs.replace(held, realized_pnl=realized)

    def mark(self, tick: Tick) -> None:
        """Take the newest price of a symbol."""
        self._marks[tick.symbol] = tick

    def has_seen(self, symbol: str, epoch: int, tick_seq: int) -> bool:
        """Whether that tick of `symbol`, or a later one, has arrived here."""
        tick = self._marks.get(symbol)
        return tick_seq == 0 or (tick is not None and tick.reaches(epoch, tick_seq))

    def price(self, symbol: str, now_ns: int, max_age_ns: int) -> Decimal | None:
        """Middle of the newest quote, None if it was received more than `max_age_ns` before `now_ns`."""
        tick = self._marks.get(symbol)
        if tick is None or now_ns - tick.received_ns > max_age_ns:
            return None
        return (Decimal(str(tick.bid)) + Decimal(str(tick.ask))) / 2

    def unpriced(self, now_ns: int, max_age_ns: int) -> list[str]:
        """Symbols with an open position but without a price this young."""
        return [symbol for symbol in self.positions if self.price(symbol, now_ns, max_age_ns) is None]

    def equity(self, now_ns: int, max_age_ns: int) -> Decimal | None:
        """Cash plus positions at their marks, in the quote asset; None while a mark is too old or missing."""
        total = self.cash
        for symbol, held in self.positions.items():
            price = self.price(symbol, now_ns, max_age_ns)
            if price is None:
                return None
            total += held.quantity * price
        return total

    @property
    def book_value(self) -> Decimal:
        """Cash plus positions at their entry prices: changes by realised profit and fees alone."""
        return self.cash + sum((held.quantity * held.entry_price for held in self.positions.values()), ZERO)

    def opening(self, symbol: str) -> Decimal:
        """Base quantity of `symbol` that open orders may yet add to a position."""
        return sum((order.remaining for order in self._opening_orders() if order.intent.symbol == symbol), ZERO)

    @property
    def opening_symbols(self) -> set[str]:
        """Symbols with an open order that may open a position."""
        return {order.intent.symbol for order in self._opening_orders()}

    def opening_cost(self) -> Decimal:
        """Quote amount that open entries may yet take, at limit price or mark; those without count 0."""
        total = ZERO
        for order in self._opening_orders():
            tick = self._marks.get(order.intent.symbol)
            mark = Decimal(str(tick.ask)) if tick else ZERO
            total += order.remaining * (order.intent.limit_price or mark)
        return total

    def free_cash(self) -> Decimal:
        """Cash that neither an open entry nor a short position has set aside.

        As the broker reckons: a short sets aside its proceeds and as much again.
        """
        shorts = (held for held in self.positions.values() if held.quantity < 0)
        set_aside = sum((-2 * held.quantity * held.entry_price for held in shorts), ZERO)
        return self.cash - set_aside - self.opening_cost()

    def knows(self, client_id: str) -> bool:
        """Whether the broker has this order open."""
        return client_id in self._orders

    def _opening_orders(self) -> list[_Order]:
        return [order for order in self._orders.values() if not order.intent.reduce_only]
