"""Round trips: from the fill that opens a position to the one that closes it, told by order events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from pydantic import Field

from levibot.bus.messages import (
    TERMINAL,
    AccountSnapshot,
    FundingPaid,
    Intent,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    Role,
    Side,
)
from levibot.config_base import Section
from levibot.execution.position import ZERO, after_fill, signed


class ClosedTrade(Section):
    """A position that was closed.

    Attributes
    ----------
    stopped
        Its last part was closed by a stop, or because no stop could be placed.
    profit
        After fees and funding, in the quote asset.
    cost
        What its entries took, in the quote asset.
    """

    symbol: str
    event_ms: int
    stopped: bool
    profit: Decimal
    cost: Decimal

    @property
    def gain(self) -> float:
        """Profit as a fraction of the cost."""
        return float(self.profit / self.cost) if self.cost else 0.0


class OpenOrder(Section):
    """An order that may yet be filled."""

    side: Side
    role: Role
    by_operator: bool = False

    @classmethod
    def of(cls, intent: Intent) -> OpenOrder:
        """An operator's emergency orders have a limit, those without protection have none."""
        by_operator = intent.role == "emergency" and intent.kind == "limit"
        return cls(side=intent.side, role=intent.role, by_operator=by_operator)

    @property
    def is_stop(self) -> bool:
        """Whether a position that it closes was stopped out, by its stop or because that could not be placed."""
        return self.role in ("stop", "emergency") and not self.by_operator


class Trip(Section):
    """A symbol's position, and what became of it so far; cost 0: nothing is open, or dust."""

    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO  # ever
    realized_before: Decimal = ZERO  # when it was opened
    cost: Decimal = ZERO


class TripsState(Section):
    """What must be remembered to go on after a restart with the event after `seq`."""

    seq: int | None = None
    orders: dict[str, OpenOrder] = Field(default_factory=dict)  # by client id
    trips: dict[str, Trip] = Field(default_factory=dict)  # by symbol


class Trips:
    """Follows the events of the broker, each once; a hole ends in the next snapshot.

    Parameters
    ----------
    state
        Of the life before.
    is_dust
        Whether a position of this symbol and size is too small to be closed.
    """

    def __init__(self, state: TripsState, is_dust: Callable[[str, Decimal], bool]) -> None:
        self.seq = state.seq
        self._orders = dict(state.orders)
        self._trips = dict(state.trips)
        self._is_dust = is_dust

    @property
    def state(self) -> TripsState:
        """For the next life."""
        return TripsState(seq=self.seq, orders=dict(self._orders), trips=dict(self._trips))

    def resync(self, snapshot: AccountSnapshot) -> None:
        """Take positions and orders as they are; a trip whose position is another began just now."""
        if self.seq == snapshot.seq:
            return
        self.seq = snapshot.seq
        self._orders = {order.client_id: OpenOrder.of(order) for order in snapshot.open_orders}
        known = self._trips
        self._trips = {held.symbol: known.get(held.symbol, Trip()) for held in snapshot.positions}
        for held in snapshot.positions:
            if self._trips[held.symbol].quantity != held.quantity:
                self._trips[held.symbol] = Trip(
                    quantity=held.quantity,
                    entry_price=held.entry_price,
                    realized=held.realized_pnl,
                    realized_before=held.realized_pnl,
                    cost=abs(held.quantity) * held.entry_price,
                )

    def apply(self, event: OrderEvent) -> ClosedTrade | None:
        """Count one event in; the trade that it closed, if it closed one."""
        if self.seq is None or event.seq != self.seq + 1:
            return None  # counted before, or after a hole
        self.seq = event.seq
        closed = None
        if isinstance(event, OrderSubmitted):
            self._orders[event.client_id] = OpenOrder.of(event.intent)
        elif isinstance(event, OrderPartiallyFilled | OrderFilled):
            closed = self._fill(event)
        elif isinstance(event, FundingPaid) and event.symbol in self._trips:
            trip = self._trips[event.symbol]
            self._trips[event.symbol] = trip.model_copy(update={"realized": trip.realized + event.amount})
        if isinstance(event, TERMINAL):
            self._orders.pop(event.client_id, None)
        return closed

    def _fill(self, event: OrderPartiallyFilled | OrderFilled) -> ClosedTrade | None:
        order = self._orders.get(event.client_id)
        if order is None:
            self.seq = None  # it cannot be told what was bought or sold: wait for a snapshot
            return None
        symbol, fill = event.symbol, event.fill
        trip = self._trips.get(symbol, Trip())
        before = Position(symbol, trip.quantity, trip.entry_price, trip.realized)
        after = after_fill(before, order.side, fill)
        adds = before.quantity * signed(order.side, fill.quantity) >= 0
        opened = trip.realized_before if trip.cost else trip.realized
        cost = trip.cost + (fill.quantity * fill.price if adds else ZERO)
        closed = None
        if not adds and trip.cost and self._is_dust(symbol, after.quantity):
            profit, stopped = after.realized_pnl - opened, order.is_stop
            closed = ClosedTrade(symbol=symbol, event_ms=event.event_ms, stopped=stopped, profit=profit, cost=cost)
            cost = ZERO
        self._trips[symbol] = Trip(
            quantity=after.quantity,
            entry_price=after.entry_price,
            realized=after.realized_pnl,
            realized_before=opened,
            cost=cost,
        )
        return closed
