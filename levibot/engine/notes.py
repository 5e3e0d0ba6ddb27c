"""Log lines about orders and the market."""

from __future__ import annotations

from levibot.bus.messages import (
    BarCorrected,
    FundingPaid,
    MarketEvent,
    MarketGap,
    MarketStale,
    OrderAccepted,
    OrderCancelled,
    OrderDenied,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderSent,
    OrderSubmitted,
    OrderTriggered,
    OrderUnknown,
    OrderUpdated,
    SpecChanged,
)
from levibot.engine.commands import Level, Note
from levibot.engine.inputs import OrderChanged

_NAMES = {
    OrderSubmitted: "order_submitted",
    OrderAccepted: "order_accepted",
    OrderPartiallyFilled: "order_partially_filled",
    OrderFilled: "order_filled",
    OrderCancelled: "order_cancelled",
    OrderDenied: "order_denied",
    OrderRejected: "order_rejected",
    OrderSent: "order_posted",
    OrderTriggered: "order_triggered",
    OrderUpdated: "order_updated",
    FundingPaid: "funding_paid",
    OrderUnknown: "order_unknown",
}


def order_note(item: OrderChanged, role: str) -> Note:
    """What happened to an order, and the position after it."""
    event = item.event
    fields = {"client_id": event.client_id, "role": role, "position": str(item.position.quantity)}
    match event:
        case OrderFilled(fill=fill) | OrderPartiallyFilled(fill=fill):
            fields |= {"quantity": str(fill.quantity), "price": str(fill.price), "fee": str(fill.fee)}
        case OrderSubmitted(intent=intent):
            fields |= {"side": intent.side, "kind": intent.kind, "quantity": str(intent.quantity)}
        case OrderDenied(reason=reason) | OrderRejected(reason=reason) | OrderCancelled(reason=reason):
            fields["reason"] = reason[:300]
        case OrderTriggered(price=price):
            fields["price"] = str(price)
        case OrderUpdated(quantity=quantity, trigger_price=trigger):
            fields |= {"quantity": str(quantity), "trigger_price": str(trigger)}
        case FundingPaid(amount=amount):
            fields["amount"] = str(amount)
        case OrderUnknown(reason=reason):
            fields["reason"] = reason[:300]
    level: Level = "warning" if isinstance(event, OrderUnknown | OrderRejected) else "info"
    return Note(level, _NAMES[type(event)], fields)


def market_note(event: MarketEvent) -> Note:
    """What happened to the market."""
    fields = {"what": type(event).__name__}
    match event:
        case MarketStale(reason=reason):
            fields["reason"] = reason[:300]
        case MarketGap(missing=missing, filled=filled):
            fields |= {"missing": str(missing), "filled": str(filled)}
        case BarCorrected(open_ms=open_ms, close=close, volume=volume):
            fields |= {"bar_ms": str(open_ms), "close": repr(close), "volume": repr(volume)}
        case SpecChanged(spec=spec):
            fields |= {"active": str(spec.active), "price_tick": str(spec.price_tick)}
            fields |= {"amount_step": str(spec.amount_step), "min_cost": str(spec.min_cost)}
    return Note("info", "market_changed", fields)
