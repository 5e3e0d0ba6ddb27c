"""What public trades do for limit orders that rest on the paper exchange."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from levibot.bus.messages import Trades
from levibot.execution.checks import is_conditional, may_open_risk
from levibot.execution.orders import Order, OrderState
from levibot.execution.paper_market import PaperMarket
from levibot.execution.position import ZERO
from levibot.execution.precision import floor_to


def rests_with_limit(order: Order) -> bool:
    """Tell whether an order stands in the queue of its price."""
    waits = is_conditional(order.intent) and order.state is OrderState.ACCEPTED
    return order.intent.limit_price is not None and order.state is not OrderState.SENT and not waits


def served(working: Sequence[Order], trades: Trades, market: PaperMarket) -> dict[str, Decimal]:
    """What each resting limit order gets of public trades, by client id.

    A trade through its price fills an order whole; a trade at its price what is left of it when the queue ahead
    is through.

    Parameters
    ----------
    working
        Orders, the oldest first: of what a trade has left the next one gets what this one did not.
    trades, market
        What was traded, and the queues of the orders.
    """
    assert market.spec is not None
    fills: dict[str, Decimal] = {}
    for trade in trades.trades:
        given: dict[float, Decimal] = {}  # an amount serves one order
        for order in working:
            intent, client_id = order.intent, order.intent.client_id
            left = order.remaining - fills.get(client_id, ZERO)
            if left <= 0 or trade.side == intent.side or (may_open_risk(intent) and not market.is_open):
                continue
            if trade.price < order.limit if intent.side == "buy" else trade.price > order.limit:
                fills[client_id] = order.remaining
            elif trade.price == order.limit:
                amount = market.queues.pass_by(client_id, Decimal(repr(trade.amount)))
                amount -= given.get(order.limit, ZERO)
                part = min(left, floor_to(max(amount, ZERO), market.spec.amount_step))
                if part > 0:
                    fills[client_id] = fills.get(client_id, ZERO) + part
                    given[order.limit] = given.get(order.limit, ZERO) + part
    return fills
