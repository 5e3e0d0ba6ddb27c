"""Checks the books of a stopped daemon: nothing lost, nothing doubled, everything adds up."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from levibot.bus.codec import Decoder
from levibot.bus.messages import OrderEvent, OrderFilled, OrderPartiallyFilled, OrderSubmitted
from levibot.symbols import on_disk


@dataclass(frozen=True)
class Books:
    """What an audit found."""

    events: list[OrderEvent]
    fills: int
    positions: dict[str, Decimal]


def audit(state: Path, cash_at_start: Decimal) -> Books:
    """Fail unless the broker's books are whole and every engine's ledger says the same."""
    with sqlite3.connect(state / "broker.sqlite") as broker:
        events = _events(broker)
        cash = Decimal(broker.execute("SELECT cash FROM account").fetchone()[0])
        positions = {
            symbol: Decimal(quantity)
            for symbol, quantity in broker.execute("SELECT symbol, quantity FROM positions")
        }
    broker.close()
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "events without a hole"
    by_symbol: dict[str, list[OrderEvent]] = defaultdict(list)
    for event in events:
        by_symbol[event.symbol].append(event)
    money, held, fills = cash_at_start, defaultdict[str, Decimal](Decimal), 0
    sides: dict[str, str] = {}
    seen: set[str] = set()
    for event in events:
        if isinstance(event, OrderSubmitted):
            assert event.client_id not in sides, f"{event.client_id} was submitted twice"
            sides[event.client_id] = event.intent.side
        elif isinstance(event, OrderFilled | OrderPartiallyFilled):
            fill = event.fill
            assert fill.fill_id not in seen, f"fill {fill.fill_id} happened twice"
            seen.add(fill.fill_id)
            sign = 1 if sides[event.client_id] == "buy" else -1
            money -= sign * fill.quantity * fill.price + fill.fee
            held[event.symbol] += sign * fill.quantity
            fills += 1
    assert money == cash, "cash is what the fills made of it"
    assert {symbol: quantity for symbol, quantity in positions.items() if quantity} == {
        symbol: quantity for symbol, quantity in held.items() if quantity
    }
    for symbol, expected in by_symbol.items():
        _audit_ledger(state / "ledgers" / f"{on_disk(symbol)}.sqlite", expected, positions[symbol])
    return Books(events, fills, positions)


def _audit_ledger(path: Path, expected: list[OrderEvent], position: Decimal) -> None:
    with sqlite3.connect(path) as ledger:
        known = [row[0] for row in ledger.execute("SELECT symbol_seq FROM events ORDER BY symbol_seq")]
        bodies = _events(ledger, "symbol_seq")
        quantity = Decimal(ledger.execute("SELECT quantity FROM ledger").fetchone()[0])
    ledger.close()
    assert known == list(range(1, len(known) + 1)), path.name
    assert bodies == expected[: len(bodies)], f"{path.name}: its history is the broker's"
    assert len(bodies) == len(expected), f"{path.name}: it has heard of everything"
    assert quantity == position, path.name


def broker_events(state: Path) -> list[OrderEvent]:
    """All that a stopped broker has in its books, oldest first."""
    with sqlite3.connect(state / "broker.sqlite") as broker:
        events = _events(broker)
    broker.close()
    return events


def _events(connection: sqlite3.Connection, order: str = "seq") -> list[OrderEvent]:
    decode: Decoder[OrderEvent] = Decoder(OrderEvent)
    return [decode(body) for (body,) in connection.execute(f"SELECT body FROM events ORDER BY {order}")]
