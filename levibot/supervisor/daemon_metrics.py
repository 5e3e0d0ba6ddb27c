"""The metrics of the whole: account, risk, market, messages and alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

from levibot.alerting.alert import Severity
from levibot.bus.messages import AltDataReport, BrokerReport, FeedReport, NotifierReport, Report, RiskState
from levibot.clock import boot_ns
from levibot.execution.orders import OrderState
from levibot.observability.metrics import Family, Reading
from levibot.risk.protections import Rule
from levibot.supervisor.worker_metrics import WorkerView

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_LANE = "lightgbm"
_BROKER_STATES = tuple(state for state in OrderState if state is not OrderState.INTENT)  # that one is an engine's


@dataclass(slots=True)
class DaemonView:
    """What is known of the whole at one moment."""

    daemon: Daemon
    now_ns: int
    risk: Mapping[str, Any]  # its summary
    workers: Mapping[str, WorkerView]

    @classmethod
    def of(cls, daemon: Daemon, workers: Iterable[WorkerView], now_ns: int) -> DaemonView:
        """Look at the daemon."""
        return cls(daemon, now_ns, daemon.risk.summary(now_ns), {view.name: view for view in workers})

    def report(self, worker: str) -> Report | None:
        """The newest report of one of the workers that serve all."""
        view = self.workers.get(worker)
        return view.heartbeat.report if view and view.heartbeat else None

    @property
    def feed(self) -> FeedReport | None:
        """What the feed's present process says; None if it does not run."""
        return self.daemon.manager.feed_report

    @property
    def altdata(self) -> AltDataReport | None:
        """What the present process of alternative data says; None if it does not run."""
        return self.daemon.manager.altdata_report

    @property
    def symbols(self) -> list[str]:
        """Symbols that are traded, or held."""
        traded = [view.symbol for view in self.workers.values() if view.symbol]
        return list(dict.fromkeys([*traded, *self.daemon.risk.portfolio.positions]))


def _day_pnl(view: DaemonView) -> Reading:
    now, start = view.risk["equity_now"], view.risk["equity_start_day"]
    return None if now is None or start is None else float(now - start)


def _grants(view: DaemonView) -> Reading:
    return view.daemon.risk.granted


def _locks(view: DaemonView) -> Reading:
    standing = Counter(lock["rule"] for lock in view.risk["locks"])
    return {rule: standing[rule] for rule in get_args(Rule)}


def _refusals(view: DaemonView) -> Reading:
    return view.daemon.risk.refusals


def _bad_ticks(view: DaemonView) -> Reading:
    return view.daemon.risk.bad_ticks


def _forwards(view: DaemonView) -> Reading:
    return int(view.daemon.forwarder.alive)


def _positions(view: DaemonView) -> Reading:
    portfolio = view.daemon.risk.portfolio
    if portfolio.seq is None:
        return None  # the broker has not told its account yet
    held = portfolio.positions
    return {symbol: float(held[symbol].quantity) if symbol in held else 0 for symbol in view.symbols}


def _position_values(view: DaemonView) -> Reading:
    risk, values = view.daemon.risk, {}
    if risk.portfolio.seq is None:
        return None
    for symbol in view.symbols:
        held = risk.portfolio.positions.get(symbol)
        price = risk.portfolio.price(symbol, view.now_ns, risk.policy.mark_max_age_ns) if held else Decimal(0)
        if price is not None:  # too old a price is none
            values[symbol] = float(held.quantity * price) if held else 0.0
    return values


def _market_ages(view: DaemonView) -> Reading:
    seen = {symbol: view.daemon.desk.market_seen(symbol) for symbol in view.symbols}
    now = view.now_ns / 1e9
    return {symbol: max(0.0, now - at) for symbol, at in seen.items() if at is not None}


def _orders(view: DaemonView) -> Reading:
    report = view.report("broker")
    if not isinstance(report, BrokerReport):
        return None
    return {str(state): report.orders.get(state, 0) for state in _BROKER_STATES}


def _open_orders(view: DaemonView) -> Reading:
    report = view.report("broker")
    return report.open_orders if isinstance(report, BrokerReport) else None


def _unprotected(view: DaemonView) -> Reading:
    report = view.report("broker")
    return len(report.unprotected) if isinstance(report, BrokerReport) else None


def _messages(view: DaemonView) -> Reading:
    daemon = view.daemon
    channels = {"heartbeat": daemon.heartbeats.received, "control": daemon.control.received}
    return {**channels, **daemon.desk.received}


def _alerts(view: DaemonView) -> Reading:
    standing = Counter(alert.severity for alert in view.daemon.alerts.standing())
    return {severity: standing[severity] for severity in get_args(Severity)}


def _models(view: DaemonView) -> Reading:
    running = (worker.inference for worker in view.workers.values() if worker.running)
    models: dict[tuple[str, ...], float] = {
        (_LANE, report.model): 1 for report in running if report and report.model
    }
    return models


def _notifications(view: DaemonView) -> Reading:
    report = view.report("notifier")
    return {"sent": report.sent, "failed": report.failed} if isinstance(report, NotifierReport) else None


def _outbox(view: DaemonView) -> Reading:
    report = view.report("notifier")
    return report.waiting if isinstance(report, NotifierReport) else None


DAEMON_FAMILIES: tuple[Family[DaemonView], ...] = (
    Family(
        "levi_equity_now",
        "gauge",
        "Equity in the quote asset; absent while the account or the price of an open position is unknown.",
        lambda view: view.risk["equity_now"],
    ),
    Family(
        "levi_equity_start_day",
        "gauge",
        "Equity at 00:00 UTC, in the quote asset.",
        lambda view: view.risk["equity_start_day"],
    ),
    Family("levi_day_pnl", "gauge", "Change of equity since 00:00 UTC, in the quote asset.", _day_pnl),
    Family(
        "levi_day_change_ratio",
        "gauge",
        "Change of equity since 00:00 UTC, as a fraction of what it was then; the daily stop looks at it.",
        lambda view: view.risk["today_pct"],
    ),
    Family(
        "levi_realized_today_pct",
        "gauge",
        "Profit realised since 00:00 UTC, as a fraction of the equity then.",
        lambda view: view.risk["realized_today_pct"],
    ),
    Family("levi_positions_open", "gauge", "Open positions.", lambda view: view.risk["positions_open"]),
    Family(
        "levi_global_stop",
        "gauge",
        "1 while nothing may be opened for any symbol: kill switch or daily stop.",
        lambda view: int(view.risk["global_stop"]),
    ),
    Family(
        "levi_kill_switch", "gauge", "1 while the kill switch is on.", lambda view: int(view.risk["kill_switch"])
    ),
    Family(
        "levi_risk_state",
        "gauge",
        "1 for the state that risk is in, 0 for the others.",
        lambda view: {state: int(state == view.risk["state"]) for state in get_args(RiskState)},
        ("state",),
    ),
    Family(
        "levi_risk_grants_total",
        "counter",
        "Entries that risk granted.",
        _grants,
    ),
    Family("levi_risk_locks", "gauge", "Locks after losses that stand now.", _locks, ("rule",)),
    Family(
        "levi_risk_refusals_total",
        "counter",
        "Entries that risk refused, by reason.",
        _refusals,
        ("reason",),
    ),
    Family(
        "levi_risk_bad_ticks_total",
        "counter",
        "Prices that risk left out, as no position can be valued by them: zero, negative, infinite or no number.",
        _bad_ticks,
    ),
    Family(
        "levi_position",
        "gauge",
        "Signed position in the base asset, from the broker's fills, whether the engine lives or not.",
        _positions,
        ("symbol",),
    ),
    Family(
        "levi_position_value",
        "gauge",
        "The same at the newest price, in the quote asset; absent while that price is too old.",
        _position_values,
        ("symbol",),
    ),
    Family(
        "levi_market_data_age_seconds",
        "gauge",
        "How long ago the supervisor last received a price of the symbol.",
        _market_ages,
        ("symbol",),
    ),
    Family(
        "levi_bus_messages_total",
        "counter",
        "Messages that the supervisor received, by channel.",
        _messages,
        ("channel",),
    ),
    Family(
        "levi_forwarder_up",
        "gauge",
        "1 while market data is forwarded to the engines.",
        _forwards,
    ),
    Family(
        "levi_orders",
        "gauge",
        "Orders in the broker's books by state, those of the past too.",
        _orders,
        ("state",),
    ),
    Family("levi_orders_open", "gauge", "Orders that have not ended, protective ones too.", _open_orders),
    Family(
        "levi_positions_unprotected",
        "gauge",
        "Open positions that no stop covers, as the broker told last.",
        _unprotected,
    ),
    Family(
        "levi_model_info",
        "gauge",
        "1 for each model that a running pool process serves.",
        _models,
        ("lane", "model"),
    ),
    Family("levi_alerts_standing", "gauge", "Alerts that stand, by severity.", _alerts, ("severity",)),
    Family(
        "levi_notifications_total",
        "counter",
        "Attempts to send an alert, by outcome; absent without a notifier.",
        _notifications,
        ("outcome",),
    ),
    Family(
        "levi_notifications_waiting",
        "gauge",
        "Notifications in the outbox; absent without a notifier.",
        _outbox,
    ),
)


def look(daemon: Daemon) -> tuple[list[WorkerView], DaemonView]:
    """All that a scrape tells, as it is now."""
    manager, portfolio, now_ns = daemon.manager, daemon.risk.portfolio, boot_ns()
    stranded = bool(manager.missing_infrastructure())
    workers = [
        WorkerView.of(
            worker,
            daemon.history,
            now_ns / 1e9,
            stranded=stranded and worker.kind == "engine",
            flat=portfolio.seq is not None and worker.symbol not in portfolio.positions,
        )
        for worker in manager.workers.values()
    ]
    return workers, DaemonView.of(daemon, workers, now_ns)
