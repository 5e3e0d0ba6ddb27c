"""Where resting limit orders stand in the queues of their prices."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from levibot.execution.position import ZERO


class Queues:
    """Amounts ahead of orders, by client id.

    Whoever comes later stands behind. Trades at the price shorten the queue, and so does a book that shows less
    there than stood ahead, for others have left. An amount that no book has shown yet is not known, and nothing
    is filled before it is; after a restart an order stands at the end again.
    """

    def __init__(self) -> None:
        self._ahead: dict[str, Decimal] = {}

    def see(self, client_id: str, resting: Decimal | None) -> None:
        """A book shows this amount at the order's price; None: it does not reach so far."""
        if resting is not None:
            self._ahead[client_id] = min(self._ahead.get(client_id, resting), resting)

    def pass_by(self, client_id: str, amount: Decimal) -> Decimal:
        """An amount is traded at the order's price; what of it is left when the queue is through."""
        ahead = self._ahead.get(client_id)
        if ahead is None:
            return ZERO
        self._ahead[client_id] = max(ahead - amount, ZERO)
        return max(amount - ahead, ZERO)

    def keep(self, client_ids: Collection[str]) -> None:
        """Forget orders that do not rest any more."""
        self._ahead = {client_id: ahead for client_id, ahead in self._ahead.items() if client_id in client_ids}
