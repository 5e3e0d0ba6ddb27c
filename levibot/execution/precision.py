"""What an exchange accepts: steps of amount and price, least sizes."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Decimal

from levibot.bus.messages import MarketSpec
from levibot.execution.refusals import Refusal

MONEY_STEP = Decimal("0.00000001")
_MONEY_DIGITS = 19  # before the point; with the eight behind it as many as a Decimal keeps
_CLOSABLE = Decimal("1.1")  # as large as this, in least sizes, must be what an entry leaves at its stop


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of `step` that is not above `value`; a step of 0 changes nothing."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step if step else value


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of `step` that is not below `value`; a step of 0 changes nothing."""
    return (value / step).to_integral_value(ROUND_CEILING) * step if step else value


def fee_of(cost: Decimal, rate: Decimal) -> Decimal:
    """Fee on `cost`, rounded against the trader to eight decimals."""
    return rounded_up(cost * rate)


def rounded_up(money: Decimal) -> Decimal:
    """Amount of money, rounded up to eight decimals."""
    return money.quantize(MONEY_STEP, ROUND_UP) if money.adjusted() < _MONEY_DIGITS else money


def plain(value: Decimal) -> str:
    """The amount as people write it: no exponent, no zeros at the end."""
    return f"{value.normalize():f}"


def sellable(quantity: Decimal, market: MarketSpec) -> Decimal:
    """Size of a position, of either sign, in whole steps of the market."""
    return floor_to(abs(quantity), market.amount_step)


def is_dust(quantity: Decimal, price: Decimal, market: MarketSpec) -> bool:
    """Tell whether a position is too small to be closed at `price`: it counts as none; nothing is dust too.

    Parameters
    ----------
    quantity
        Signed or not.
    price
        That the position could be closed at; 0 if it is not known: then only its amount counts.
    market
        Least sizes.
    """
    size = sellable(quantity, market)
    return not size or size < market.min_amount or (price > 0 and size * price < market.min_cost)


def size_refusal(quantity: Decimal, price: Decimal, market: MarketSpec) -> str | None:
    """Why the market takes no order of this size, and what it would take; None if it does."""
    if not quantity:
        return Refusal.PRECISION.because(
            f"the quantity is below the step of amounts, {plain(market.amount_step)} {market.base}"
        )
    if quantity < market.min_amount:
        refusal = Refusal.MIN_AMOUNT
        problem = f"quantity {plain(quantity)} {market.base} is below min_amount {plain(market.min_amount)}"
    elif quantity * price < market.min_cost:
        refusal = Refusal.MIN_COST
        problem = f"cost {plain(quantity * price)} {market.quote} is below min_cost {plain(market.min_cost)}"
    else:
        return None
    return refusal.because(
        f"{problem}: at {plain(price)} at least {_least(price, market)} {market.base} would pass"
    )


def closable_refusal(quantity: Decimal, worst: Decimal, market: MarketSpec) -> str | None:
    """Why an entry could not be closed again at its stop, and which size could; None if it can.

    A tenth above the least sizes, for the price at which a stop fills is worse than its trigger; and of the
    quantity what a fee in the base asset would leave.

    Parameters
    ----------
    quantity
        Of the entry, in whole steps.
    worst
        Lowest price at which its protection may have to close it.
    market
        Least sizes, and the fee.
    """
    kept = 1 - market.taker_fee
    least_cost, least_amount = _CLOSABLE * market.min_cost, _CLOSABLE * market.min_amount
    if quantity * worst >= least_cost and quantity * kept >= least_amount:
        return None
    least = ceil_to(max(least_cost / worst, least_amount / kept), market.amount_step)
    return Refusal.NOT_CLOSABLE.because(
        f"dust at its stop: {plain(quantity)} {market.base} at {plain(worst)} is {plain(quantity * worst)}"
        f" {market.quote}, and {_CLOSABLE} times min_cost {plain(market.min_cost)} and min_amount"
        f" {plain(market.min_amount)} are needed: at least {plain(least)} {market.base} would pass"
    )


def _least(price: Decimal, market: MarketSpec) -> str:
    by_cost = ceil_to(market.min_cost / price, market.amount_step)
    return plain(max(ceil_to(market.min_amount, market.amount_step), by_cost))
