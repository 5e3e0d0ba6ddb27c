"""What trading came to: of round trips, and of the record of equity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from levibot.execution.position import ZERO
from levibot.reports.round_trips import RoundTrip
from levibot.reports.rows import Row, exact

_DIGITS = 8  # of a ratio


def performance_row(symbol: str, trips: Sequence[RoundTrip]) -> Row:
    """Trades, win rate, profit factor and average duration of round trips that have ended.

    Parameters
    ----------
    symbol
        As the row is called.
    trips
        Closed ones. The win rate is the part of them with a profit; the profit factor is what the winners
        earned over what the others lost, None if nothing was lost.
    """
    gains = sum((trip.pnl for trip in trips if trip.pnl > 0), ZERO)
    losses = -sum((trip.pnl for trip in trips if trip.pnl < 0), ZERO)
    won, durations = sum(trip.pnl > 0 for trip in trips), [trip.duration_ms or 0 for trip in trips]
    return {
        "symbol": symbol,
        "trades": len(trips),
        "win_rate": exact(round(Decimal(won) / len(trips), _DIGITS)) if trips else None,
        "profit_factor": exact(round(gains / losses, _DIGITS)) if losses else None,
        "average_duration_seconds": sum(durations) // len(trips) // 1000 if trips else None,
        "pnl": exact(gains - losses),
    }


def max_drawdown(points: Iterable[tuple[Decimal, Decimal]]) -> Decimal:
    """Deepest fall from a peak, as a fraction of it; what is put in or taken out is no rise and no fall.

    Parameters
    ----------
    points
        Equity and what was put in by then, oldest first. It is reckoned on the growth of what was there.
    """
    growth = peak = Decimal(1)
    deepest, last = ZERO, None
    for equity, funds in points:
        if last is not None and last[0] > 0:
            growth *= (equity - (funds - last[1])) / last[0]
        last = equity, funds
        peak = max(peak, growth)
        deepest = max(deepest, 1 - growth / peak)
    return deepest
