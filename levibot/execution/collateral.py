"""What orders and short positions take of the free cash: nothing is borrowed, and proceeds are no buying power."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from levibot.bus.messages import Fill, Intent, MarketSpec, Position
from levibot.execution.position import ZERO, after_fill, cash_flow
from levibot.execution.precision import fee_of, rounded_up


def opening(order: Intent, quantity: Decimal, held: Decimal, selling: Decimal) -> Decimal:
    """Part of an entry that takes cash: all of a purchase, of a sale what would be short.

    Parameters
    ----------
    order, quantity
        The entry, and how much of it is not filled yet.
    held
        Position before it, signed.
    selling
        What entries ahead of it are going to sell.
    """
    if order.side == "buy":
        return quantity
    return min(quantity, max(quantity + selling - max(held, ZERO), ZERO))


def reserve_for(quantity: Decimal, price: Decimal, market: MarketSpec) -> Decimal:
    """Cash that a quantity can cost at `price`, the dearer fee included."""
    cost = quantity * price
    return cost + fee_of(cost, max(market.maker_fee, market.taker_fee))


def set_aside(position: Position) -> Decimal:
    """Cash that a position holds back: of a short its proceeds and as much again, of a long nothing."""
    return rounded_up(-2 * position.quantity * position.entry_price) if position.quantity < 0 else ZERO


def cash_taken(position: Position, order: Intent, fills: Iterable[Fill], quote: str) -> Decimal:
    """What fills of an order take of the free cash, to the last digit; below 0: they free some.

    Parameters
    ----------
    position
        Before the first.
    order, fills
        Whose side it is, and one after the other.
    quote
        Asset of the cash.
    """
    taken = -set_aside(position)
    for fill in fills:
        taken -= cash_flow(order.side, fill, quote)
        position = after_fill(position, order.side, fill)
    return taken + set_aside(position)
