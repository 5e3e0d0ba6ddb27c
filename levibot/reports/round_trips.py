"""Fills put together to round trips: from flat to flat again, as freqtrade calls a trade."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import Fill, Intent, Position, Side
from levibot.execution.position import ZERO, signed

DUST = Decimal("0.01")  # part of the largest position; what is left below it ends the round trip


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A position from its opening to its end.

    Attributes
    ----------
    opened_ms, closed_ms
        Market time; `closed_ms` None while it is open.
    quantity
        Base quantity that was bought to open it, or sold if it is short.
    entry_price, exit_price
        Averages over the fills, by quantity; `exit_price` None while nothing is closed.
    pnl
        Realised, after fees and funding, in the quote asset.
    pnl_ratio
        The same as a fraction of what the entry cost.
    exit_reason
        ``stop``, ``trailing stop``, ``target``, ``signal``, ``flatten``, ``settled by hand`` or
        ``emergency``; empty while it is open.
    remainder
        Signed quantity that was too small to be closed; the next round trip begins with it.
    """

    symbol: str
    side: str
    opened_ms: int
    closed_ms: int | None
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal | None
    pnl: Decimal
    pnl_ratio: Decimal
    exit_reason: str
    remainder: Decimal

    @property
    def duration_ms(self) -> int | None:
        """From opening to end."""
        return None if self.closed_ms is None else self.closed_ms - self.opened_ms


@dataclass(slots=True)
class _Building:
    side: Side
    opened_ms: int
    realized_before: Decimal
    entered: Decimal = ZERO  # base quantities and quote amounts
    paid: Decimal = ZERO
    left: Decimal = ZERO
    got: Decimal = ZERO
    largest: Decimal = ZERO


class RoundTrips:
    """Takes the fills of one symbol in their order.

    Attributes
    ----------
    closed
        Those that have ended, oldest first.
    """

    def __init__(self, symbol: str) -> None:
        self.closed: list[RoundTrip] = []
        self._symbol = symbol
        self._open: _Building | None = None
        self._last: _Building | None = None  # of the last that was closed

    def fill(self, intent: Intent, fill: Fill, event_ms: int, before: Position, after: Position) -> None:
        """Count a fill in, with the positions before and after it."""
        trip = (
            self._open or self._reopened(intent, before) or _Building(intent.side, event_ms, before.realized_pnl)
        )
        self._open = trip
        crossed = before.quantity * after.quantity < 0 and intent.side != trip.side
        quantity = abs(before.quantity) if crossed else fill.quantity
        self._count(trip, intent.side, quantity, fill.price, after)
        held = abs(after.quantity)
        if intent.side != trip.side and (crossed or held <= trip.largest * DUST):
            remainder = ZERO if crossed else after.quantity
            self.closed.append(self._built(trip, event_ms, after, exit_reason(intent), remainder))
            self._open, self._last = None, trip
            if crossed:
                self._open = _Building(intent.side, event_ms, after.realized_pnl)
                self._count(self._open, intent.side, fill.quantity - quantity, fill.price, after)

    def _reopened(self, intent: Intent, before: Position) -> _Building | None:
        """The last one, if this fill sells what had seemed too small to be closed."""
        if self._last is None or before.quantity * signed(intent.side, Decimal(1)) >= 0:
            return None
        self.closed.pop()
        return self._last

    def open(self, position: Position) -> RoundTrip | None:
        """The one that has not ended, None if there is none."""
        return self._built(self._open, None, position, "", ZERO) if self._open is not None else None

    @staticmethod
    def _count(trip: _Building, side: Side, quantity: Decimal, price: Decimal, after: Position) -> None:
        if side == trip.side:
            trip.entered += quantity
            trip.paid += quantity * price
            trip.largest = max(trip.largest, abs(after.quantity))
        else:
            trip.left += quantity
            trip.got += quantity * price

    def _built(
        self, trip: _Building, closed_ms: int | None, after: Position, reason: str, remainder: Decimal
    ) -> RoundTrip:
        pnl = after.realized_pnl - trip.realized_before
        return RoundTrip(
            symbol=self._symbol,
            side="long" if signed(trip.side, Decimal(1)) > 0 else "short",
            opened_ms=trip.opened_ms,
            closed_ms=closed_ms,
            quantity=trip.entered,
            entry_price=trip.paid / trip.entered,
            exit_price=trip.got / trip.left if trip.left else None,
            pnl=pnl,
            pnl_ratio=pnl / trip.paid if trip.paid else ZERO,
            exit_reason=reason,
            remainder=remainder,
        )


def exit_reason(intent: Intent) -> str:
    """Why an order closes a position, in the words of users."""
    if intent.role == "stop":
        return "trailing stop" if intent.trailing_offset is not None else "stop"
    if intent.role == "emergency":
        return role_of(intent)
    return "target" if intent.role == "take_profit" else "signal"


def role_of(intent: Intent) -> str:
    """What an order is for; ``flatten`` or ``settled by hand``, not ``emergency``, if an operator wanted it."""
    if intent.role == "emergency" and intent.kind == "limit":  # those for want of protection have no limit
        return "settled by hand" if intent.reason else "flatten"
    return intent.role
