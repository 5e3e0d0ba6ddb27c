"""Watches the price for orders that rest in the broker, by the feed or, if that does not count, by asking."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from levibot.bus.messages import Side, Tick
from levibot.clock import boot_ns
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.wanted import ROLES, rests_here
from levibot.execution.orders import Order
from levibot.execution.quotes import Quote
from levibot.execution.triggers import is_reached, trailed, trigger_price

PriceOf = Callable[[Side], float]


class PriceWatch:
    """Tells of orders of one symbol that the price has reached, and of trailing stops that follow it.

    Parameters
    ----------
    desk
        Of the symbol.
    reached
        Told of an order in the broker, and the price that has reached it.
    followed
        Told of a trailing stop in the broker, and its new trigger.
    """

    def __init__(
        self,
        desk: SymbolDesk,
        reached: Callable[[Order, Decimal], None],
        followed: Callable[[Order, Decimal], None],
    ) -> None:
        self._desk = desk
        self._reached = reached
        self._followed = followed
        desk.prices.heard = self._on_read

    def on_tick(self, tick: Tick) -> None:
        """Compare what rests in the broker with a price of the feed, unless its prices do not count."""
        if not self._desk.stale:
            self._compare(lambda side: trigger_price(tick, side), float(tick.bid), float(tick.ask))

    def on_timer(self, now_ns: int) -> None:
        """Ask the exchange for its prices if they are needed, and the feed is silent or stale."""
        if not self._desk.is_fed(now_ns) and any(rests_here(order) for order in self._desk.orders):
            self._desk.prices.refresh(now_ns)

    def _on_read(self, quote: Quote) -> None:
        bid, ask = float(quote.bid), float(quote.ask)
        self._compare(lambda side: bid if side == "sell" else ask, bid, ask)

    def is_reached(self, order: Order) -> bool:
        """Tell whether the newest price of the feed has reached an order."""
        tick = self._desk.tick
        if tick is None or not self._desk.is_fed(boot_ns()):
            return False
        return is_reached(order.intent, order.trigger, trigger_price(tick, order.intent.side))

    def _compare(self, price_of: PriceOf, bid: float, ask: float) -> None:
        for order in self._desk.orders:
            if not rests_here(order):
                continue
            intent = order.intent
            price = price_of(intent.side)
            if intent.kind == "limit":
                crossed = bid >= order.limit if intent.side == "sell" else 0 < ask <= order.limit
                if crossed:
                    self._reached(order, Decimal(repr(bid if intent.side == "sell" else ask)))
            elif intent.kind in ROLES and price > 0:
                exact = Decimal(repr(price))
                if is_reached(intent, order.trigger, price):
                    self._reached(order, exact)
                elif (trigger := trailed(intent, exact)) is not None:
                    self._followed(order, trigger)
