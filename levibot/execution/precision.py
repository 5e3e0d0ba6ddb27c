"""What an exchange accepts: steps of amount and price, least sizes."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Decimal

from levibot.bus.messages import MarketSpec

_FEE_STEP = Decimal("0.00000001")
_FEE_DIGITS = 19  # before the point; with the eight behind it as many as a Decimal keeps


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of `step` that is not above `value`; a step of 0 changes nothing."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step if step else value


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of `step` that is not below `value`; a step of 0 changes nothing."""
    return (value / step).to_integral_value(ROUND_CEILING) * step if step else value


def fee_of(cost: Decimal, rate: Decimal) -> Decimal:
    """Fee on `cost`, rounded against the trader to eight decimals."""
    fee = cost * rate
    return fee.quantize(_FEE_STEP, ROUND_UP) if fee.adjusted() < _FEE_DIGITS else fee


def plain(value: Decimal) -> str:
    """The amount as people write it: no exponent, no zeros at the end."""
    return f"{value.normalize():f}"


def size_refusal(quantity: Decimal, price: Decimal, market: MarketSpec) -> str | None:
    """Why the market takes no order of this size, and what it would take; None if it does."""
    by_cost = ceil_to(market.min_cost / price, market.amount_step)
    least = max(ceil_to(market.min_amount, market.amount_step), by_cost)
    if quantity < market.min_amount or not quantity:
        problem = f"quantity {plain(quantity)} {market.base} is below min_amount {plain(market.min_amount)}"
    elif quantity * price < market.min_cost:
        problem = f"cost {plain(quantity * price)} {market.quote} is below min_cost {plain(market.min_cost)}"
    else:
        return None
    return f"{problem}: at {plain(price)} at least {plain(least)} {market.base} would pass"
