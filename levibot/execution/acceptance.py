"""How long orders take from the engine's decision to the exchange's acceptance."""

from __future__ import annotations

from collections.abc import Collection

from levibot.bus.messages import ORDER_BOUNDS, OrderAccepted, OrderEvent, OrderSent, OrderSubmitted
from levibot.observability.histogram import Histogram


class AcceptanceTimes(Histogram):
    """Orders that were accepted by the time that it took; remembers those that are on their way."""

    def __init__(self) -> None:
        super().__init__(ORDER_BOUNDS)
        self._sent_ns: dict[str, int] = {}

    def sent(self, client_id: str, now_ns: int) -> None:
        """An order is about to be journaled and sent."""
        self._sent_ns[client_id] = now_ns

    def heard(self, event: OrderEvent, now_ns: int) -> None:
        """An event of an order; one that ended unaccepted is not counted."""
        if isinstance(event, OrderSubmitted | OrderSent):
            return
        sent_ns = self._sent_ns.pop(event.client_id, None)
        if sent_ns is not None and isinstance(event, OrderAccepted):
            self.observe((now_ns - sent_ns) / 1e9)

    def keep(self, open_ids: Collection[str]) -> None:
        """Forget the orders that have ended without an event that was heard."""
        self._sent_ns = {client_id: ns for client_id, ns in self._sent_ns.items() if client_id in open_ids}
