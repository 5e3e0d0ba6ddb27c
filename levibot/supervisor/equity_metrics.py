"""The metrics of what each symbol earned, as the record of equity adds up the broker's events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from levibot.equity.valuation import SymbolValue
from levibot.observability.metrics import Family, Reading
from levibot.supervisor.daemon_metrics import DaemonView


def _by_symbol(read: Callable[[SymbolValue], Decimal]) -> Callable[[DaemonView], Reading]:
    def reading(view: DaemonView) -> Reading:
        newest = view.daemon.equity.newest
        if newest is None:
            return None
        return {symbol: float(read(one)) for symbol, one in newest.symbols.items()}

    return reading


def _unrealized(view: DaemonView) -> Reading:
    risk = view.daemon.risk
    values: dict[str, float] = {}
    for symbol, held in risk.portfolio.positions.items():
        price = risk.portfolio.price(symbol, view.now_ns, risk.policy.mark_max_age_ns)
        if price is not None:
            values[symbol] = float(held.quantity * (price - held.entry_price))
    return values


EQUITY_FAMILIES: tuple[Family[DaemonView], ...] = (
    Family(
        "levi_realized_pnl",
        "gauge",
        "Profit that a symbol has realised since its first order, after fees and funding, in the quote asset.",
        _by_symbol(lambda one: one.realized),
        ("symbol",),
    ),
    Family(
        "levi_unrealized_pnl",
        "gauge",
        "Profit of an open position at the newest price, in the quote asset; absent while that price is too old.",
        _unrealized,
        ("symbol",),
    ),
    Family(
        "levi_fees",
        "gauge",
        "Fees that the realised profit contains, in the quote asset.",
        _by_symbol(lambda one: one.fees),
        ("symbol",),
    ),
    Family(
        "levi_funding",
        "gauge",
        "What funding added to the realised profit, in the quote asset.",
        _by_symbol(lambda one: one.funding),
        ("symbol",),
    ),
)
