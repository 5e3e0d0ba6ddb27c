"""Checks the books of a stopped daemon as `levibotctl doctor --ledger` does, and that engines have heard all."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from levibot.bus.messages import OrderEvent
from levibot.reports import audit as product
from levibot.reports.sources import broker_reader, decoded, opening_cash


@dataclass(frozen=True)
class Books:
    """What an audit found."""

    events: list[OrderEvent]
    fills: int
    positions: dict[str, Decimal]


def audit(state: Path, cash_at_start: Decimal, *, settled: bool = True) -> Books:
    """Fail unless the broker's books are whole and every engine's ledger says the same.

    Parameters
    ----------
    settled
        Engines were paused before the end; else one may have ended before it heard of its last order.
    """
    result = product.audit(state)
    assert result.differences == []
    assert not settled or not any(result.behind.values()), "every ledger has heard of everything"
    with broker_reader(state) as reader:
        assert opening_cash(reader) == cash_at_start
    symbols = {symbol for symbol in result.books.events if symbol}
    assert symbols <= result.behind.keys(), "every symbol that was traded has its ledger"
    return Books(broker_events(state), result.books.fills, result.books.positions)


def broker_events(state: Path) -> list[OrderEvent]:
    """All that a stopped broker has in its books, oldest first."""
    with broker_reader(state) as reader:
        return list(decoded(reader, "SELECT body FROM events ORDER BY seq"))
