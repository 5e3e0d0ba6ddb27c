"""One symbol's events as what people ask for: fills, orders, round trips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from msgspec import structs

from levibot.bus.messages import (
    Fill,
    FundingPaid,
    Intent,
    OrderAccepted,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSent,
    OrderSubmitted,
    OrderUpdated,
)
from levibot.execution.orders import TERMINAL_STATES, IllegalTransitionError, OrderState, next_state
from levibot.execution.position import ZERO
from levibot.reports.round_trips import RoundTrips
from levibot.reports.tally import SymbolTally, UnknownOrderError


@dataclass(frozen=True, slots=True)
class FillRecord:
    """A fill and what it did.

    Attributes
    ----------
    realized_pnl
        What the realised profit changed by, after this fill's fee.
    position
        Signed quantity after it.
    """

    event_ms: int
    recorded_ms: int
    intent: Intent
    fill: Fill
    realized_pnl: Decimal
    position: Decimal


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order and where it stands.

    Attributes
    ----------
    intent
        As it was submitted, with the newest quantity and trigger.
    event_ms
        Market time of its submission; of the decision if it never reached the broker.
    changed_ms
        Market time of the newest event about it.
    average_price
        Of its fills, by quantity; None without any.
    exchange_id
        The exchange's name of it; empty: it rested in the broker, or nowhere.
    """

    intent: Intent
    state: OrderState
    event_ms: int
    changed_ms: int
    filled: Decimal = ZERO
    average_price: Decimal | None = None
    exchange_id: str = ""
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether its end is not known."""
        return self.state not in TERMINAL_STATES

    @property
    def rests(self) -> str:
        """Where an open order rests: ``exchange``, ``broker``, or empty if nobody has accepted it."""
        if not self.is_open or self.state not in (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED):
            return ""
        return "exchange" if self.exchange_id else "broker"


class SymbolHistory:
    """All that happened with one symbol.

    Attributes
    ----------
    fills
        Oldest first.
    orders
        By client id, in the order of submission.
    tally
        What it adds up to.
    trips
        Round trips.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.fills: list[FillRecord] = []
        self.orders: dict[str, OrderRecord] = {}
        self.tally = SymbolTally.of(symbol)
        self.trips = RoundTrips(symbol)

    def apply(self, event: OrderEvent) -> None:
        """Take in the next event.

        Raises
        ------
        UnknownOrderError
            If it is about an order that was never submitted.
        """
        if isinstance(event, FundingPaid):
            self.tally.fund(event.amount)
            return
        if isinstance(event, OrderSubmitted):
            self.orders[event.client_id] = OrderRecord(
                event.intent, OrderState.INTENT, event.event_ms, event.event_ms
            )
        record = self.orders.get(event.client_id)
        if record is None:
            raise UnknownOrderError(
                f"event {event.seq} is about order {event.client_id}, which was never submitted"
            )
        try:
            state = next_state(record.state, event)
        except IllegalTransitionError:
            state = record.state
        record = replace(record, state=state, changed_ms=event.event_ms)
        match event:
            case OrderAccepted():
                record = replace(record, exchange_id=event.exchange_id)
            case OrderSent():
                record = replace(
                    record, intent=structs.replace(record.intent, quantity=record.filled + event.quantity)
                )
            case OrderUpdated():
                terms = {"quantity": event.quantity, "trigger_price": event.trigger_price}
                record = replace(record, intent=structs.replace(record.intent, **terms))
            case OrderPartiallyFilled() | OrderFilled():
                record = self._fill(record, event)
        reason = getattr(event, "reason", "")
        self.orders[event.client_id] = replace(record, reason=reason) if reason else record

    def note_unsent(self, intent: Intent, state: OrderState) -> None:
        """Take in an order that an engine has journaled and the broker has not heard of."""
        if intent.client_id not in self.orders:
            reason = "never reached the broker" if state in TERMINAL_STATES else "journaled; not sent yet"
            self.orders[intent.client_id] = OrderRecord(
                intent, state, intent.event_ms, intent.event_ms, reason=reason
            )

    def note_terms(self, intent: Intent) -> None:
        """Take in how an open order rests: quantity and prices rounded to the market's steps."""
        record = self.orders.get(intent.client_id)
        if record is not None:
            self.orders[intent.client_id] = replace(record, intent=intent)

    def open_orders(self) -> list[OrderRecord]:
        """Orders whose end is not known."""
        return [order for order in self.orders.values() if order.is_open]

    def _fill(self, record: OrderRecord, event: OrderPartiallyFilled | OrderFilled) -> OrderRecord:
        fill, before = event.fill, self.tally.position
        self.tally.fill(record.intent.side, fill)
        after = self.tally.position
        self.trips.fill(record.intent, fill, event.event_ms, before, after)
        self.fills.append(
            FillRecord(
                event_ms=event.event_ms,
                recorded_ms=event.recorded_ms,
                intent=record.intent,
                fill=fill,
                realized_pnl=after.realized_pnl - before.realized_pnl,
                position=after.quantity,
            )
        )
        filled = record.filled + fill.quantity
        spent = (record.average_price or ZERO) * record.filled + fill.price * fill.quantity
        return replace(record, filled=filled, average_price=spent / filled)
