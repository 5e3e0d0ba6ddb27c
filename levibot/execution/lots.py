"""Which entry each part of a position comes from, and so where that part is to be closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from levibot.bus.messages import Intent
from levibot.execution.position import ZERO, signed


@dataclass(frozen=True, slots=True)
class Lot:
    """What is left of one entry.

    Attributes
    ----------
    entry_id
        Client id of the entry.
    quantity
        Of the base asset, positive; fees that were paid in it are taken off.
    stop
        Price that closes it at a loss; None: there is none.
    target
        Price that closes it at a profit; None: there is none.
    trail
        Distance of a trailing stop; None: there is none.
    """

    entry_id: str
    quantity: Decimal
    stop: Decimal | None
    target: Decimal | None
    trail: Decimal | None


Lots = tuple[Lot, ...]


def held(lots: Sequence[Lot]) -> Decimal:
    """Size of the position that these lots make up."""
    return sum((lot.quantity for lot in lots), ZERO)


def after_fill(lots: Lots, order: Intent, price: Decimal, before: Decimal, after: Decimal) -> Lots:
    """Lots after a fill of `order`, oldest first.

    What an entry gains goes to its own lot; what anything else closes comes off the lot of its entry first,
    then off the oldest. A position that changes its side has nothing left of what it was.

    Parameters
    ----------
    price
        Of the fill. An entry with a trailing stop and no other has its stop where the trailing one begins.
    before, after
        The position, signed: so a fee in the base asset, and whatever else changed it, is counted.
    """
    if before * after < 0:
        lots = ()
    change = abs(after) - held(lots)
    if change <= 0 or order.reduce_only:
        return less(lots, max(-change, ZERO), order.parent_id)
    if not any(lot.entry_id == order.client_id for lot in lots):
        lots = (*lots, _new(order, price))
    return tuple(
        replace(lot, quantity=lot.quantity + change) if lot.entry_id == order.client_id else lot for lot in lots
    )


def less(lots: Lots, quantity: Decimal, first: str | None = None) -> Lots:
    """Lots without `quantity`, which the lot of the entry `first` gives before the oldest do."""
    left = quantity
    given: dict[str, Decimal] = {}
    for lot in taken_in_turn(lots, first):
        given[lot.entry_id] = min(lot.quantity, left)
        left -= given[lot.entry_id]
    smaller = (replace(lot, quantity=lot.quantity - given[lot.entry_id]) for lot in lots)
    return tuple(lot for lot in smaller if lot.quantity > 0)


def taken_in_turn(lots: Lots, first: str | None) -> list[Lot]:
    """The lots in the order in which an exit takes from them: that of the entry `first`, then the oldest."""
    return sorted(lots, key=lambda lot: lot.entry_id != first)


def _new(entry: Intent, price: Decimal) -> Lot:
    stop = entry.stop_loss
    if stop is None and entry.trailing_stop is not None:
        below = price - signed(entry.side, entry.trailing_stop)
        stop = below if below > 0 else None
    return Lot(entry.client_id, ZERO, stop, entry.take_profit, entry.trailing_stop)
