"""Orders on their way to the paper exchange."""

from __future__ import annotations

from typing import NamedTuple

from levibot.bus.messages import OrderSent
from levibot.clock import wall_ms
from levibot.execution.books import Books
from levibot.execution.orders import Order, OrderState

_PATIENCE_NS = 2_000_000_000  # after which an order that opens risk comes too late


class _Flight(NamedTuple):
    symbol: str
    due_ns: int
    due_ms: int  # market time: it may run faster than ours
    late_ns: int


class Flights:
    """When orders that were sent arrive: after the latency, by our time or by the market's, whichever is sooner.

    Parameters
    ----------
    books
        The account. What was on its way when the process ended arrives at the next occasion, and is late if that
        took too long.
    latency
        Seconds; 0: nothing is ever on its way.
    now_ns
        CLOCK_BOOTTIME.
    """

    def __init__(self, books: Books, latency: float, now_ns: int) -> None:
        self.take_time = latency > 0
        self._books = books
        self._latency_ms = round(latency * 1000)
        self._flights: dict[str, _Flight] = {}
        for order in books.open.values():
            if order.state is OrderState.SENT:
                sent_ms = _sent_ms(books, order)
                late_ns = now_ns + _PATIENCE_NS - max(wall_ms() - sent_ms, 0) * 1_000_000
                intent = order.intent
                self._flights[intent.client_id] = _Flight(intent.symbol, now_ns, 0, late_ns)

    def depart(self, order: Order, now_ns: int) -> None:
        """The order leaves now."""
        due_ns = now_ns + self._latency_ms * 1_000_000
        due_ms = self._books.event_ms + self._latency_ms
        self._flights[order.intent.client_id] = _Flight(order.intent.symbol, due_ns, due_ms, due_ns + _PATIENCE_NS)

    def is_due(self, order: Order, event_ms: int, now_ns: int) -> bool:
        """Tell whether an order is on its way and should be there by now."""
        if order.state is not OrderState.SENT:
            return False
        flight = self._flights.get(order.intent.client_id)
        return flight is None or now_ns >= flight.due_ns or event_ms >= flight.due_ms

    def is_late(self, order: Order, now_ns: int) -> bool:
        """Tell whether what was decided when it left does not count any more."""
        flight = self._flights.get(order.intent.client_id)
        return flight is not None and now_ns > flight.late_ns

    def symbols(self, now_ns: int) -> set[str]:
        """Symbols whose orders are due; those that were cancelled on their way are forgotten."""
        for client_id in [client_id for client_id in self._flights if not self._flies(client_id)]:
            del self._flights[client_id]
        return {flight.symbol for flight in self._flights.values() if now_ns >= flight.due_ns}

    def _flies(self, client_id: str) -> bool:
        order = self._books.open.get(client_id)
        return order is not None and order.state is OrderState.SENT


def _sent_ms(books: Books, order: Order) -> int:
    """Wall time at which an order was sent."""
    events = books.events_of(order.intent.symbol, 0)
    own = (event for event in reversed(events) if event.client_id == order.intent.client_id)
    return next((event.recorded_ms for event in own if isinstance(event, OrderSent)), 0)
