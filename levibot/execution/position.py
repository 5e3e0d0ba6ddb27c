"""How a fill changes a position; the ledger and the paper exchange share this one rule."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages import Fill, Position, Side

ZERO = Decimal(0)


def flat(symbol: str) -> Position:
    """A position of nothing."""
    return Position(symbol, ZERO, ZERO, ZERO)


def signed(side: Side, quantity: Decimal) -> Decimal:
    """Quantity with the sign of its effect on a position."""
    return quantity if side == "buy" else -quantity


def opposite(side: Side) -> Side:
    """The other side."""
    return "sell" if side == "buy" else "buy"


def base_of(symbol: str) -> str:
    """Base asset of a canonical symbol."""
    return symbol.partition("/")[0]


def quote_of(symbol: str) -> str:
    """Quote asset of a canonical symbol."""
    return symbol.partition("/")[2].partition(":")[0]


def cash_flow(side: Side, fill: Fill, quote: str) -> Decimal:
    """What a fill adds to the quote balance."""
    fee = fill.fee if fill.fee_asset == quote else ZERO
    return -signed(side, fill.quantity) * fill.price - fee


def after_fill(position: Position, side: Side, fill: Fill) -> Position:
    """Position after `fill`, its realised profit after fees.

    Average cost: adding averages the entry price, reducing realises against it, crossing zero starts
    anew at the fill's price. A fee in the base asset makes the position smaller and is booked at the
    entry price; one in a third asset is left to that asset's balance. At any mark, realised plus
    unrealised profit equals the change of cash plus the value of the position.

    Parameters
    ----------
    position
        Before the fill, signed base quantity.
    side
        Of the order that was filled.
    """
    change = signed(side, fill.quantity)
    held, entry, realized = position.quantity, position.entry_price, position.realized_pnl
    quantity = held + change
    if held * change >= 0:
        entry = (held * entry + change * fill.price) / quantity if quantity else fill.price
    else:
        closed = min(abs(held), abs(change)).copy_sign(held)
        realized += closed * (fill.price - entry)
        if quantity * held < 0:
            entry = fill.price
    if fill.fee_asset == quote_of(position.symbol):
        realized -= fill.fee
    elif fill.fee_asset == base_of(position.symbol):
        entry = entry if quantity else fill.price
        realized -= fill.fee * entry
        quantity -= fill.fee
    return Position(position.symbol, quantity, entry if quantity else ZERO, realized)


def unrealized_pnl(position: Position, mark: Decimal) -> Decimal:
    """Profit of the open position at `mark`, in the quote asset."""
    return position.quantity * (mark - position.entry_price)
