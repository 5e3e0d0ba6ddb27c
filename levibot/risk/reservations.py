"""Grants that are out: each counts as exposure until its order takes over, or can no longer come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import Grant, OrderEvent, Side
from levibot.execution.position import ZERO

# The broker may take an order in the last moment of its grant; the news of it takes a while to come.
_MARGIN_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reservation:
    """Exposure that a grant may become."""

    symbol: str
    side: Side
    quantity: Decimal
    cost: Decimal  # quote amount, at the price of the grant
    until_ns: int


class Reservations:
    """The grants whose orders the broker has not yet reported, by client id."""

    def __init__(self) -> None:
        self._held: dict[str, Reservation] = {}

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, grant: Grant, price: Decimal) -> None:
        """Reserve what `grant` allows, valued at `price`."""
        cost, until_ns = grant.max_quantity * price, grant.expires_ns + _MARGIN_NS
        self._held[grant.client_id] = Reservation(grant.symbol, grant.side, grant.max_quantity, cost, until_ns)

    def release(self, event: OrderEvent) -> None:
        """The broker speaks of this order: from now on the portfolio counts it."""
        self._held.pop(event.client_id, None)

    def expire(self, now_ns: int) -> None:
        """Drop the grants that no order can come of any more."""
        for client_id in [name for name, held in self._held.items() if held.until_ns <= now_ns]:
            del self._held[client_id]

    def __iter__(self) -> Iterator[Reservation]:
        return iter(self._held.values())

    @property
    def cost(self) -> Decimal:
        """Quote amount that all reservations may take."""
        return sum((held.cost for held in self._held.values()), ZERO)
