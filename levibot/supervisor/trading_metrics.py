"""The metrics of live trading: how the books stand to the exchange, as the broker told last. Absent on paper."""

from __future__ import annotations

from collections.abc import Callable

from levibot.bus.messages import BrokerReport, LiveTradingReport
from levibot.observability.metrics import Family, Reading
from levibot.supervisor.daemon_metrics import DaemonView


def _now(read: Callable[[LiveTradingReport], Reading]) -> Callable[[DaemonView], Reading]:
    def reading(view: DaemonView) -> Reading:
        report = view.report("broker")
        live = report.live if isinstance(report, BrokerReport) else None
        return None if live is None else read(live)

    return reading


TRADING_FAMILIES = (
    Family(
        "levi_live_symbols_frozen",
        "gauge",
        "Symbols in which nothing is opened, as the books and the exchange do not agree.",
        _now(lambda live: len(live.frozen)),
    ),
    Family(
        "levi_live_orders_unknown",
        "gauge",
        "Orders whose answer was lost, and that the exchange is asked for.",
        _now(lambda live: live.unknown_orders),
    ),
    Family(
        "levi_live_orders_foreign",
        "gauge",
        "Open orders on the account that are not LeviBot's.",
        _now(lambda live: live.foreign_orders),
    ),
    Family(
        "levi_live_assets_short",
        "gauge",
        "Assets of which the books hold more than the exchange has, and no transfer tells why.",
        _now(lambda live: len(live.drift)),
    ),
    Family(
        "levi_live_reconciled_age_seconds",
        "gauge",
        "Age of the last whole comparison with the exchange; absent before the first.",
        _now(lambda live: live.reconciled_s),
    ),
)
