"""The order states follow one table: what is not in it is refused."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from levibot.bus.messages import (
    TERMINAL,
    Fill,
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
)
from levibot.execution.orders import TERMINAL_STATES, IllegalTransitionError, OrderState, next_state
from tests.execution.examples import entry

_BASE: dict[str, Any] = {
    "seq": 1,
    "symbol_seq": 1,
    "symbol": "BTC/USDT",
    "client_id": "a",
    "event_ms": 0,
    "recorded_ms": 0,
}
_FILL = Fill("f", Decimal(1), Decimal(1), Decimal(0), "USDT", "taker")
_EVENTS: dict[str, Any] = {
    "submitted": OrderSubmitted(**_BASE, intent=entry("1")),
    "sent": OrderSent(**_BASE, quantity=Decimal(1)),
    "updated": OrderUpdated(**_BASE, quantity=Decimal(1), trigger_price=Decimal(1)),
    "triggered": OrderTriggered(**_BASE, price=Decimal(1)),
    "accepted": OrderAccepted(**_BASE, exchange_id="x"),
    "partial": OrderPartiallyFilled(**_BASE, fill=_FILL),
    "filled": OrderFilled(**_BASE, fill=_FILL),
    "cancelled": OrderCancelled(**_BASE, reason=""),
    "denied": OrderDenied(**_BASE, reason=""),
    "rejected": OrderRejected(**_BASE, reason=""),
    "unknown": OrderUnknown(**_BASE, reason=""),
}
_TABLE = """
INTENT            submitted  SUBMITTED
INTENT            denied     DENIED
SUBMITTED         sent       SENT
SUBMITTED         accepted   ACCEPTED
SUBMITTED         partial    PARTIALLY_FILLED
SUBMITTED         filled     FILLED
SUBMITTED         cancelled  CANCELLED
SUBMITTED         denied     DENIED
SUBMITTED         rejected   REJECTED
SUBMITTED         unknown    UNKNOWN
SENT              accepted   ACCEPTED
SENT              partial    PARTIALLY_FILLED
SENT              filled     FILLED
SENT              cancelled  CANCELLED
SENT              rejected   REJECTED
SENT              unknown    UNKNOWN
TRIGGERED         sent       SENT
TRIGGERED         partial    PARTIALLY_FILLED
TRIGGERED         filled     FILLED
TRIGGERED         cancelled  CANCELLED
TRIGGERED         denied     DENIED
TRIGGERED         unknown    UNKNOWN
ACCEPTED          triggered  TRIGGERED
ACCEPTED          updated    ACCEPTED
ACCEPTED          sent       SENT
ACCEPTED          partial    PARTIALLY_FILLED
ACCEPTED          filled     FILLED
ACCEPTED          cancelled  CANCELLED
ACCEPTED          unknown    UNKNOWN
PARTIALLY_FILLED  partial    PARTIALLY_FILLED
PARTIALLY_FILLED  updated    PARTIALLY_FILLED
PARTIALLY_FILLED  filled     FILLED
PARTIALLY_FILLED  cancelled  CANCELLED
PARTIALLY_FILLED  unknown    UNKNOWN
UNKNOWN           accepted   ACCEPTED
UNKNOWN           partial    PARTIALLY_FILLED
UNKNOWN           filled     FILLED
UNKNOWN           cancelled  CANCELLED
UNKNOWN           rejected   REJECTED
UNKNOWN           unknown    UNKNOWN
"""
_ALLOWED = {(row.split()[0], row.split()[1]): row.split()[2] for row in _TABLE.strip().splitlines()}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(OrderState, _EVENTS)))
def test_only_what_the_table_allows_may_follow(state: OrderState, event: str) -> None:
    following = _ALLOWED.get((state, event))
    if following is None:
        with pytest.raises(IllegalTransitionError, match=f"cannot follow {state}"):
            next_state(state, _EVENTS[event])
    else:
        assert next_state(state, _EVENTS[event]) == following


def test_an_order_ends_exactly_with_the_terminal_events() -> None:
    ends = {"FILLED", "CANCELLED", "DENIED", "REJECTED"}
    assert ends == TERMINAL_STATES
    assert {_ALLOWED["SUBMITTED", name] for name, event in _EVENTS.items() if isinstance(event, TERMINAL)} == ends
