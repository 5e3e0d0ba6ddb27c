"""The orders of a symbol that have not ended, as its decision core follows them."""

from __future__ import annotations

from collections.abc import Iterable

from levibot.bus.messages import Intent
from levibot.engine.inputs import OpenOrder


class FollowedOrders:
    """The engine's own orders, one at a time or what a crash left, and the protective ones of the broker."""

    def __init__(self) -> None:
        self.own: dict[str, OpenOrder] = {}
        self._resting: dict[str, OpenOrder] = {}

    def add(self, order: Intent | OpenOrder) -> None:
        """Follow an order to its end."""
        orders = self.own if order.role in ("entry", "exit") else self._resting
        orders[order.client_id] = OpenOrder(order.client_id, order.role, order.side)

    def replace(self, orders: Iterable[OpenOrder]) -> None:
        """Follow these and no others."""
        self.own.clear()
        self._resting.clear()
        for order in orders:
            self.add(order)

    def get(self, client_id: str) -> OpenOrder | None:
        """The order; None if it is not followed."""
        return self.own.get(client_id) or self._resting.get(client_id)

    def end(self, client_id: str) -> None:
        """Follow an order no further."""
        self.own.pop(client_id, None)
        self._resting.pop(client_id, None)
