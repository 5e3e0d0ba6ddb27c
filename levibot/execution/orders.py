"""An open order, the states of an order, and what may follow them, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from levibot.bus.messages import (
    Intent,
    OrderAccepted,
    OrderCancelled,
    OrderDenied,
    OrderEvent,
    OrderFilled,
    OrderMessage,
    OrderPartiallyFilled,
    OrderRejected,
    OrderSent,
    OrderSubmitted,
    OrderTriggered,
    OrderUnknown,
    OrderUpdated,
)
from levibot.errors import GiveUpError
from levibot.execution.position import ZERO


class OrderState(StrEnum):
    """Where an order stands."""

    INTENT = "INTENT"  # journaled by the engine; nobody else need know of it
    SUBMITTED = "SUBMITTED"  # journaled by the broker; no exchange knows of it
    SENT = "SENT"  # journaled as sent: an exchange may have it
    ACCEPTED = "ACCEPTED"  # rests on the exchange, or in the broker
    TRIGGERED = "TRIGGERED"  # rested in the broker, its price was reached; not sent yet
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    DENIED = "DENIED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"  # the answer was lost: resolved by asking, never by sending again


@dataclass
class Order:
    """An order that is not at its end.

    Attributes
    ----------
    intent
        As it rests: quantity and prices rounded to the market's steps.
    reserved
        Quote asset set aside for it.
    oco
        Orders with the same text, if there is one, cancel each other.
    exchange_id
        The exchange's name of it; empty: it has none yet, or the order rests in the broker.
    trigger, limit
        Prices as floats, to be compared with market data.
    """

    intent: Intent
    state: OrderState = OrderState.INTENT
    filled: Decimal = ZERO
    reserved: Decimal = ZERO
    oco: str = ""
    exchange_id: str = ""
    trigger: float = 0.0
    limit: float = 0.0

    def __post_init__(self) -> None:
        self._cache_prices()

    def change(self, **terms: Any) -> None:
        """Let it rest with other terms: fields of its intent."""
        self.intent = msgspec.structs.replace(self.intent, **terms)
        self._cache_prices()

    def _cache_prices(self) -> None:
        self.trigger = float(self.intent.trigger_price or 0)
        self.limit = float(self.intent.limit_price or 0)

    @property
    def remaining(self) -> Decimal:
        """Quantity that is not filled yet."""
        return self.intent.quantity - self.filled


class IllegalTransitionError(GiveUpError):
    """An event came that cannot follow the state of its order."""


_S = OrderState
_FILLS: dict[type[OrderMessage], OrderState] = {
    OrderPartiallyFilled: _S.PARTIALLY_FILLED,
    OrderFilled: _S.FILLED,
    OrderCancelled: _S.CANCELLED,
    OrderUnknown: _S.UNKNOWN,
}

TRANSITIONS: dict[OrderState, dict[type[OrderMessage], OrderState]] = {
    _S.INTENT: {OrderSubmitted: _S.SUBMITTED, OrderDenied: _S.DENIED},
    _S.SUBMITTED: {
        **_FILLS,  # a paper exchange may fill at once
        OrderSent: _S.SENT,
        OrderAccepted: _S.ACCEPTED,
        OrderDenied: _S.DENIED,
        OrderRejected: _S.REJECTED,
    },
    _S.SENT: {
        **_FILLS,  # an exchange may report the fill before the acceptance
        OrderAccepted: _S.ACCEPTED,
        OrderRejected: _S.REJECTED,
    },
    _S.ACCEPTED: {
        **_FILLS,
        OrderUpdated: _S.ACCEPTED,
        OrderTriggered: _S.TRIGGERED,
        OrderSent: _S.SENT,  # the broker watched the price of a stop until the exchange took it over
    },
    _S.TRIGGERED: {**_FILLS, OrderSent: _S.SENT, OrderDenied: _S.DENIED},
    _S.PARTIALLY_FILLED: {**_FILLS, OrderUpdated: _S.PARTIALLY_FILLED},
    _S.UNKNOWN: {**_FILLS, OrderAccepted: _S.ACCEPTED, OrderRejected: _S.REJECTED},
    _S.FILLED: {},
    _S.CANCELLED: {},
    _S.DENIED: {},
    _S.REJECTED: {},
}
TERMINAL_STATES = frozenset(state for state, following in TRANSITIONS.items() if not following)


def next_state(state: OrderState, event: OrderEvent) -> OrderState:
    """State of an order in `state` after `event`.

    Raises
    ------
    IllegalTransitionError
        If the table does not allow it.
    """
    try:
        return TRANSITIONS[state][type(event)]
    except KeyError:
        raise IllegalTransitionError(
            f"order {event.client_id}: {type(event).__name__} cannot follow {state}"
        ) from None
