"""The state of risk as people and programs read it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from levibot.risk.day import Valuation

if TYPE_CHECKING:
    from levibot.risk.manager import RiskManager


def risk_summary(risk: RiskManager, worth: Valuation | None, book_value: Decimal | None) -> dict[str, Any]:
    """State of `risk`; fractions, amounts in the quote asset, None: unknown.

    Parameters
    ----------
    risk
        Whose state it is.
    worth
        What the portfolio is worth now.
    book_value
        The same with positions at their entry prices.
    """
    day, exposures = risk.memory.day_start, risk.exposures()
    start, start_book = (day.equity, day.book_value) if day else (None, None)
    equity = worth.equity if worth is not None else None
    return {
        "equity_now": _number(equity),
        "equity_start_day": _number(start),
        "realized_today_pct": _change(book_value, start_book, start),
        "today_pct": _change(equity, start, start),
        "positions_open": len(risk.portfolio.open_positions),
        "global_stop": risk.stops.latched,
        "kill_switch": risk.stops.kill_switch is not None,
        "state": risk.status.state,
        "reason": risk.status.reason,
        "since_ms": risk.status.since_ms,
        "grants_open": len(risk.reservations),
        "gross_exposure": float(exposures.gross),
        "net_exposure": float(exposures.held),
        "locks": [lock.model_dump() for lock in risk.protections.standing(risk.event_ms)],
        "policy": risk.policy.summary(),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _change(now: Decimal | None, start: Decimal | None, equity: Decimal | None) -> float | None:
    """Change since the day began, as a fraction of its starting equity."""
    if now is None or start is None or not equity:
        return None
    return float((now - start) / equity)
