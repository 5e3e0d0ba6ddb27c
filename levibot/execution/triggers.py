"""When stops, targets and trailing stops fire: one rule, on paper and wherever the broker watches the price.

The price that counts is that of the last trade; where the feed has none, the side of the quote that the order
would be filled on: the bid for a sale, the ask for a purchase. So a quote that is thin for a moment fires
nothing.
"""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages import Intent, Side, Tick

_STEPS = 10


def trigger_price(tick: Tick, side: Side) -> float:
    """Price that the triggers of orders of `side` are compared with."""
    if tick.last > 0:
        return tick.last
    return tick.bid if side == "sell" else tick.ask


def is_reached(intent: Intent, trigger: float, price: float) -> bool:
    """Tell whether `price` fires a stop, target or trailing stop.

    Parameters
    ----------
    intent
        The order; its kind and side count.
    trigger
        Its trigger as a float; 0: it has none yet.
    price
        As of `trigger_price`.
    """
    if not trigger:
        return False
    below = (intent.side == "sell") == (intent.kind != "take_profit")
    return price <= trigger if below else price >= trigger


def trailed(intent: Intent, price: Decimal) -> Decimal | None:
    """New trigger of a trailing stop that follows `price`; None: it stays.

    It moves in steps of a tenth of its distance, so that not every tick is a write to the disk; what is
    written is what counts.

    Parameters
    ----------
    intent
        The trailing stop as it rests.
    price
        As of `trigger_price`.
    """
    offset = intent.trailing_offset
    if offset is None:
        return None
    if intent.side == "sell":
        wanted = price - offset
        behind = wanted - intent.trigger_price if intent.trigger_price is not None else offset
    else:
        wanted = price + offset
        behind = intent.trigger_price - wanted if intent.trigger_price is not None else offset
    return wanted if wanted > 0 and behind * _STEPS >= offset else None
