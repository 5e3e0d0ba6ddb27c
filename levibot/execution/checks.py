"""What the paper exchange refuses, each refusal with its reason and what would pass."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from levibot.bus.messages import Intent, MarketSpec, Position
from levibot.execution.position import quote_of, signed
from levibot.execution.precision import fee_of, floor_to, plain, size_refusal


@dataclass(frozen=True)
class Situation:
    """What an order meets on arrival.

    Attributes
    ----------
    market
        Rules and fees of the market.
    position
        Before the order.
    price
        What a market order would pay or get now, or the order's own limit; None if it is not known.
    cash
        Free to be spent.
    quote
        Asset that the account is kept in.
    """

    market: MarketSpec
    position: Position
    price: Decimal | None
    cash: Decimal
    quote: str


def is_protective(intent: Intent) -> bool:
    """Tell whether the order waits for a trigger."""
    return intent.kind in ("stop", "take_profit")


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
        grant=None,
    )


def form_refusal(intent: Intent) -> str | None:
    """Why the order makes no sense in any market, or None."""
    amounts = {
        "quantity": intent.quantity,
        "limit_price": intent.limit_price,
        "trigger_price": intent.trigger_price,
        "stop_loss": intent.stop_loss,
        "take_profit": intent.take_profit,
    }
    for name, amount in amounts.items():
        if amount is not None and not (amount.is_finite() and amount > 0):
            return f"{name} is {amount}; it must be a positive number"
    if intent.kind == "trailing_stop" or intent.trailing_offset is not None:
        return "trailing stops are not supported by the paper exchange; use stop_loss or a stop order"
    if intent.kind == "limit" and intent.limit_price is None:
        return "a limit order needs limit_price"
    if is_protective(intent):
        if intent.trigger_price is None:
            return f"a {intent.kind} order needs trigger_price"
        if not intent.reduce_only:
            return f"a {intent.kind} order must be reduce_only: nothing that opens risk waits for later"
    if intent.post_only and intent.kind != "limit":
        return "post_only needs a limit order"
    if intent.reduce_only == (intent.role == "entry"):
        return "an entry is not reduce_only, and every other order is"
    if intent.reduce_only and (intent.stop_loss or intent.take_profit):
        return "only an entry carries stop_loss and take_profit"
    return None


def market_refusal(order: Intent, situation: Situation) -> str | None:
    """Why the market or the account does not take the (rounded) order, or None."""
    if quote_of(order.symbol) != situation.quote:
        return f"the account holds {situation.quote}, {order.symbol} is traded in {quote_of(order.symbol)}"
    for name in ("limit_price", "trigger_price", "stop_loss", "take_profit"):
        if getattr(order, name) == 0:  # after rounding
            return f"{name} is below the price tick {plain(situation.market.price_tick)}"
    return _exit_refusal(order, situation) if order.reduce_only else _entry_refusal(order, situation)


def reducible(order: Intent, position: Position) -> Decimal:
    """How much of the position an order of this side could close."""
    return max(-signed(order.side, position.quantity), Decimal(0))


def reduce_refusal(order: Intent, position: Position) -> str | None:
    """Why a reduce-only order has nothing to do, or None."""
    if reducible(order, position):
        return None
    return f"nothing to reduce: the position is {plain(position.quantity)}"


def _exit_refusal(order: Intent, situation: Situation) -> str | None:
    nothing = reduce_refusal(order, situation.position)
    if nothing:
        return nothing
    price = order.trigger_price or order.limit_price or situation.price
    quantity = min(order.quantity, reducible(order, situation.position))
    reason = size_refusal(quantity, price, situation.market) if price else None
    return f"dust: {reason}" if reason else None


def _entry_refusal(order: Intent, situation: Situation) -> str | None:
    market, held = situation.market, situation.position.quantity
    if situation.price is None:
        return "no price"
    after = held + signed(order.side, order.quantity)
    if after < 0 and order.side == "sell" and not market.can_short:
        return f"no short on spot: the position is {plain(held)}"
    return (
        size_refusal(order.quantity, situation.price, market)
        or _protection_refusal(order, situation.price, market)
        or _cash_refusal(order, situation.price, situation)
    )


def _protection_refusal(order: Intent, price: Decimal, market: MarketSpec) -> str | None:
    sign = signed(order.side, Decimal(1))
    if order.stop_loss is not None and (price - order.stop_loss) * sign <= 0:
        return f"stop_loss {plain(order.stop_loss)} would fire at once: the price is {plain(price)}"
    if order.take_profit is not None and (order.take_profit - price) * sign <= 0:
        return f"take_profit {plain(order.take_profit)} would fire at once: the price is {plain(price)}"
    for name, trigger in (("stop_loss", order.stop_loss), ("take_profit", order.take_profit)):
        reason = size_refusal(order.quantity, trigger, market) if trigger is not None else None
        if reason:
            return f"{name} could not be placed: {reason}"
    return None


def _cash_refusal(order: Intent, price: Decimal, situation: Situation) -> str | None:
    market, held = situation.market, situation.position.quantity
    opening = abs(held + signed(order.side, order.quantity)) - abs(held)
    if order.side == "sell" and opening <= 0:
        return None
    needed = reserve_for(order, price, market)
    if needed <= situation.cash:
        return None
    rate = max(market.maker_fee, market.taker_fee)
    affordable = max(floor_to(situation.cash / (price * (1 + rate)), market.amount_step), Decimal(0))
    return (
        f"not enough {situation.quote}: {plain(needed)} needed, {plain(situation.cash)} free:"
        f" at {plain(price)} at most {plain(affordable)} {market.base} would pass"
    )


def reserve_for(order: Intent, price: Decimal, market: MarketSpec) -> Decimal:
    """Cash that the order can cost at `price`, the dearer fee included."""
    cost = order.quantity * price
    return cost + fee_of(cost, max(market.maker_fee, market.taker_fee))
