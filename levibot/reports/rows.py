"""Records as rows: names and values as they are exported; money stays exact, times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from levibot.reports.history import FillRecord, OrderRecord, SymbolHistory
from levibot.reports.round_trips import RoundTrip, role_of

Row = dict[str, Any]


def iso(unix_ms: int | None) -> str | None:
    """``2026-01-31T12:00:00.123Z``."""
    if unix_ms is None:
        return None
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact(amount: Decimal | None) -> str | None:
    """All digits that matter, without an exponent."""
    if amount is None:
        return None
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def fill_row(record: FillRecord) -> Row:
    """Of a fill."""
    intent, fill = record.intent, record.fill
    return {
        "time": iso(record.event_ms),
        "symbol": intent.symbol,
        "side": intent.side,
        "role": role_of(intent),
        "quantity": exact(fill.quantity),
        "price": exact(fill.price),
        "fee": exact(fill.fee),
        "fee_asset": fill.fee_asset,
        "liquidity": fill.liquidity,
        "realized_pnl": exact(record.realized_pnl),
        "position": exact(record.position),
        "client_id": intent.client_id,
        "fill_id": fill.fill_id,
        "recorded_at": iso(record.recorded_ms),
    }


def trip_row(trip: RoundTrip) -> Row:
    """Of a round trip; the duration in seconds."""
    return {
        "opened_at": iso(trip.opened_ms),
        "closed_at": iso(trip.closed_ms),
        "symbol": trip.symbol,
        "side": trip.side,
        "quantity": exact(trip.quantity),
        "entry_price": exact(trip.entry_price),
        "exit_price": exact(trip.exit_price),
        "duration_seconds": trip.duration_ms // 1000 if trip.duration_ms is not None else None,
        "pnl": exact(trip.pnl),
        "pnl_ratio": exact(round(trip.pnl_ratio, 8)),
        "exit_reason": trip.exit_reason,
        "remainder": exact(trip.remainder),
    }


def order_row(record: OrderRecord) -> Row:
    """Of an order."""
    intent = record.intent
    return {
        "time": iso(record.event_ms),
        "symbol": intent.symbol,
        "state": str(record.state),
        "side": intent.side,
        "kind": intent.kind,
        "role": role_of(intent),
        "quantity": exact(intent.quantity),
        "filled": exact(record.filled),
        "average_price": exact(record.average_price),
        "limit_price": exact(intent.limit_price),
        "trigger_price": exact(intent.trigger_price),
        "trailing_offset": exact(intent.trailing_offset),
        "time_in_force": intent.time_in_force,
        "post_only": intent.post_only,
        "reduce_only": intent.reduce_only,
        "rests_on": record.rests,
        "reason": record.reason,
        "client_id": intent.client_id,
        "exchange_id": record.exchange_id,
        "parent_id": intent.parent_id or "",
        "changed_at": iso(record.changed_ms),
    }


def position_row(history: SymbolHistory, mark: Decimal | None) -> Row:
    """Of a position, with what rests to protect it; the nearest first."""
    tally, position = history.tally, history.tally.position
    resting = [order for order in history.open_orders() if order.rests and order.intent.reduce_only]
    trip = history.trips.open(position)
    return {
        "symbol": history.symbol,
        "quantity": exact(position.quantity),
        "entry_price": exact(position.entry_price),
        "mark": exact(mark),
        "unrealized_pnl": exact(tally.unrealized(mark)) if mark is not None or not position.quantity else None,
        "realized_pnl": exact(position.realized_pnl),
        "fees": exact(tally.fee_cost),
        "fees_by_asset": {asset: exact(amount) for asset, amount in sorted(tally.fees.items())},
        "funding": exact(tally.funding),
        "opened_at": iso(trip.opened_ms) if trip else None,
        "protection": [_protection(order) for order in sorted(resting, key=_nearness)],
        "dust": bool(position.quantity) and trip is None and not resting,
    }


def flattened(row: Mapping[str, Any]) -> Row:
    """A row for a table of plain cells: what is nested becomes text."""
    return {name: _plain(value) for name, value in row.items()}


def _protection(order: OrderRecord) -> Row:
    intent = order.intent
    return {
        "role": intent.role,
        "kind": intent.kind,
        "trigger_price": exact(intent.trigger_price or intent.limit_price),
        "trailing_offset": exact(intent.trailing_offset),
        "quantity": exact(intent.quantity - order.filled),
        "rests_on": order.rests,
        "client_id": intent.client_id,
    }


def _nearness(order: OrderRecord) -> tuple[str, Decimal]:
    price = order.intent.trigger_price or order.intent.limit_price or Decimal(0)
    towards = price if order.intent.side == "buy" else -price
    return order.intent.role, towards if order.intent.role == "stop" else -towards


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {text}" for key, text in value.items())
    if isinstance(value, list):
        return "; ".join(protection_text(part) for part in value)
    return value


def protection_text(part: Mapping[str, Any]) -> str:
    """``stop 1 at 95 (exchange)``."""
    word = {"take_profit": "target"}.get(part["role"], part["role"])
    trailing = f" trailing {part['trailing_offset']}" if part["trailing_offset"] else ""
    return f"{word} {part['quantity']} at {part['trigger_price']}{trailing} ({part['rests_on']})"
