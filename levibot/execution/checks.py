"""What is refused before it is sent, on paper and live: each refusal with its name, and what would pass."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from levibot.bus.messages import Intent, MarketSpec, Position
from levibot.execution.collateral import opening, reserve_for
from levibot.execution.position import quote_of, signed
from levibot.execution.precision import closable_refusal, floor_to, plain, size_refusal
from levibot.execution.refusals import Refusal


@dataclass(frozen=True)
class Situation:
    """What an order meets on arrival.

    Attributes
    ----------
    market
        Rules and fees of the market.
    position
        Before the order.
    selling
        What entries ahead of the order are going to sell of it.
    price
        What a market order would pay or get now, or the order's own limit; None if it is not known.
    cash
        Free to be spent.
    quote
        Asset that the account is kept in.
    """

    market: MarketSpec
    position: Position
    selling: Decimal
    price: Decimal | None
    cash: Decimal
    quote: str


def is_conditional(intent: Intent) -> bool:
    """Tell whether the order waits for a trigger."""
    return intent.kind in ("stop", "take_profit", "trailing_stop")


def is_stop(intent: Intent) -> bool:
    """Tell whether the order limits a loss."""
    return intent.kind in ("stop", "trailing_stop")


def may_open_risk(intent: Intent) -> bool:
    """Tell whether the order could open or increase a position, and so needs a grant."""
    return not intent.reduce_only


def rounded(intent: Intent, market: MarketSpec) -> Intent:
    """The order as the market takes it: quantity rounded down, prices to the tick, the grant left out.

    A price is rounded so that it is no worse for the trader: a buy limit down, a sell limit up.
    """

    def to_tick(price: Decimal | None, *, up: bool) -> Decimal | None:
        if price is None or not market.price_tick:
            return price
        below = floor_to(price, market.price_tick)
        return below + market.price_tick if up and below != price else below

    buys = intent.side == "buy"
    return msgspec.structs.replace(
        intent,
        quantity=floor_to(intent.quantity, market.amount_step),
        limit_price=to_tick(intent.limit_price, up=not buys),
        trigger_price=to_tick(intent.trigger_price, up=not buys),
        stop_loss=to_tick(intent.stop_loss, up=buys),
        take_profit=to_tick(intent.take_profit, up=buys),
        trailing_offset=to_tick(intent.trailing_offset, up=False),
        trailing_stop=to_tick(intent.trailing_stop, up=False),
        grant=None,
    )


_AMOUNTS = (
    "quantity",
    "limit_price",
    "trigger_price",
    "trailing_offset",
    "stop_loss",
    "take_profit",
    "trailing_stop",
)


def form_refusal(intent: Intent) -> str | None:
    """Why the order makes no sense in any market, or None."""
    problem = _amount_problem(intent) or _kind_problem(intent) or _role_problem(intent)
    return Refusal.BAD_ORDER.because(problem) if problem else None


def _amount_problem(intent: Intent) -> str:
    for name in _AMOUNTS:
        amount = getattr(intent, name)
        if amount is not None and not (amount.is_finite() and amount > 0):
            return f"{name} is {amount}; it must be a positive number"
    return ""


def _kind_problem(intent: Intent) -> str:
    kind = intent.kind
    if kind == "limit" and intent.limit_price is None:
        return "a limit order needs limit_price"
    if kind == "market" and intent.limit_price is not None:
        return "a market order has no limit_price"
    if (kind == "trailing_stop") != (intent.trailing_offset is not None):
        return "a trailing_stop needs trailing_offset, and no other order has one"
    if kind in ("stop", "take_profit") and intent.trigger_price is None:
        return f"a {kind} order needs trigger_price"
    if not is_conditional(intent) and intent.trigger_price is not None:
        return f"a {kind} order has no trigger_price"
    if is_conditional(intent) and not intent.reduce_only:
        return f"a {kind} order must be reduce_only: nothing that opens risk waits for later"
    if (intent.post_only or intent.time_in_force == "ioc") and kind != "limit":
        return "post_only and ioc need a limit order"
    if intent.post_only and intent.time_in_force == "ioc":
        return "post_only rests, and ioc does not"
    return ""


def _role_problem(intent: Intent) -> str:
    if intent.reduce_only == (intent.role == "entry"):
        return "an entry is not reduce_only, and every other order is"
    if intent.reduce_only and (intent.stop_loss or intent.take_profit or intent.trailing_stop):
        return "only an entry carries stop_loss, take_profit and trailing_stop"
    return ""


def market_refusal(order: Intent, situation: Situation) -> str | None:
    """Why the market or the account does not take the (rounded) order, or None."""
    if quote_of(order.symbol) != situation.quote:
        return Refusal.WRONG_QUOTE.because(
            f"the account holds {situation.quote}, {order.symbol} is traded in {quote_of(order.symbol)}"
        )
    for name in _AMOUNTS[1:]:
        if getattr(order, name) == 0:  # after rounding
            return Refusal.PRECISION.because(
                f"{name} is below the price tick {plain(situation.market.price_tick)}"
            )
    return _exit_refusal(order, situation) if order.reduce_only else _entry_refusal(order, situation)


def reducible(order: Intent, position: Position) -> Decimal:
    """How much of the position an order of this side could close."""
    return max(-signed(order.side, position.quantity), Decimal(0))


def reduce_refusal(order: Intent, position: Position) -> str | None:
    """Why a reduce-only order has nothing to do, or None."""
    if reducible(order, position):
        return None
    return Refusal.NOTHING_TO_REDUCE.because(f"the position is {plain(position.quantity)}")


def dust_refusal(quantity: Decimal, price: Decimal, market: MarketSpec) -> str | None:
    """Why so little of a position cannot be closed at `price`, or None."""
    reason = size_refusal(quantity, price, market)
    return Refusal.DUST.because(reason) if reason else None


def _exit_refusal(order: Intent, situation: Situation) -> str | None:
    nothing = reduce_refusal(order, situation.position)
    if nothing:
        return nothing
    price = order.trigger_price or order.limit_price or situation.price
    quantity = min(order.quantity, reducible(order, situation.position))
    return dust_refusal(quantity, price, situation.market) if price else None


def _entry_refusal(order: Intent, situation: Situation) -> str | None:
    market = situation.market
    if situation.price is None:
        return Refusal.NO_PRICE.because(f"there is none of {order.symbol}")
    if order.side == "sell" and not market.can_short and _opening(order, situation):
        held = situation.position.quantity - situation.selling
        return Refusal.NO_SHORT.because(f"this market has no shorts, and the position is {plain(held)}")
    return (
        size_refusal(order.quantity, situation.price, market)
        or _protection_refusal(order, situation.price, market)
        or _cash_refusal(order, situation.price, situation)
    )


def _protection_refusal(order: Intent, price: Decimal, market: MarketSpec) -> str | None:
    sign = signed(order.side, Decimal(1))
    if order.stop_loss is not None and (price - order.stop_loss) * sign <= 0:
        return Refusal.CROSSED.because(
            f"stop_loss {plain(order.stop_loss)} would fire at once: the price is {plain(price)}"
        )
    if order.take_profit is not None and (order.take_profit - price) * sign <= 0:
        return Refusal.CROSSED.because(
            f"take_profit {plain(order.take_profit)} would fire at once: the price is {plain(price)}"
        )
    if order.side == "buy" and order.trailing_stop is not None and order.trailing_stop >= price:
        return Refusal.CROSSED.because(
            f"trailing_stop {plain(order.trailing_stop)} is a distance as large as the price, {plain(price)}"
        )
    return closable_refusal(order.quantity, worst_exit(order, price), market)


def worst_exit(order: Intent, price: Decimal) -> Decimal:
    """Lowest price at which the protection of an entry may have to close it; without any, the entry's own."""
    trailing = price - signed(order.side, order.trailing_stop) if order.trailing_stop is not None else price
    return min(price, order.stop_loss or price, order.take_profit or price, trailing)


def _opening(order: Intent, situation: Situation) -> Decimal:
    return opening(order, order.quantity, situation.position.quantity, situation.selling)


def _cash_refusal(order: Intent, price: Decimal, situation: Situation) -> str | None:
    market, opens = situation.market, _opening(order, situation)
    needed = reserve_for(opens, price, market)
    if needed <= situation.cash or not opens:
        return None
    rate = max(market.maker_fee, market.taker_fee)
    affordable = max(floor_to(situation.cash / (price * (1 + rate)), market.amount_step), Decimal(0))
    affordable += order.quantity - opens
    return Refusal.NO_CASH.because(
        f"not enough {situation.quote}: {plain(needed)} needed, {plain(situation.cash)} free:"
        f" at {plain(price)} at most {plain(affordable)} {market.base} would pass"
    )
