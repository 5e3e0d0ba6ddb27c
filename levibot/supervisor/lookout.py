"""Gathers, once a second, the facts that the conditions are checked on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from levibot.bus.messages import BrokerReport, EngineReport, LiveTradingReport, NotifierReport, Report
from levibot.clock import boot_ns, boot_seconds
from levibot.execution.hindrance import ACCOUNT, REFUSED
from levibot.market.states import STALE
from levibot.supervisor.facts import Facts
from levibot.supervisor.health import ErrorWindow
from levibot.supervisor.machine import disciplined_error, free_bytes
from levibot.supervisor.manager import ALTDATA
from levibot.supervisor.market_conditions import blindness
from levibot.supervisor.status import describe_pool
from levibot.supervisor.watch import Watch

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_INTERVAL = 1.0
_DRIFT = "drift"  # of risk: what the books hold and the exchange has not
LOOP_PATIENCE = 10.0  # seconds between two turns of a loop until it counts as stuck
_LATELY = 60.0
_STEADY = 5.0  # seconds that a market must be live without a break
_SETTLE_AFTER = 60.0  # seconds that the parts of a new daemon have to raise again what still holds


class Lookout:
    """Watches what no single part of the daemon could judge.

    Parameters
    ----------
    daemon
        The daemon.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._refused = ErrorWindow(_LATELY)
        self._unrecorded = ErrorWindow(_LATELY)
        self._stale: dict[str, tuple[float, float]] = {}  # symbol → since and until when the feed calls it stale
        self._expected: dict[str, float] = {}  # symbol → since when its data should come
        self._blind = ""  # why no market is seen that should be
        self._looked_at = boot_seconds()

    def ailments(self) -> list[str]:
        """What is wrong, in words; nothing if the daemon does its work."""
        now, daemon = boot_seconds(), self._daemon
        turns = {
            "health": daemon.manager.watched_at,
            "risk": daemon.desk.turned_at,
            "conditions": self._looked_at,
        }
        stuck = [f"the loop of {name} stands still" for name, at in turns.items() if now - at > LOOP_PATIENCE]
        ending = ["the daemon is shutting down"] if daemon.stopping else []
        blind = [self._blind] if self._blind else []
        return [*ending, *stuck, *daemon.manager.ailments(), *blind]

    async def run(self) -> None:
        """Look once a second, for ever; what a life before raised is settled when all had time to speak."""
        alerts, manager = self._daemon.alerts, self._daemon.manager
        standing = [alert.key for alert in alerts.standing()]
        watch = Watch(alerts.raise_alert, alerts.clear, standing)
        settle_at: float | None = boot_seconds() + _SETTLE_AFTER
        while True:
            now = boot_seconds()
            try:
                facts = self._facts(now)
                if facts.trading is not None:  # of a broker that is away nothing new is known
                    self._hold_back(facts.trading)
                self._blind = blindness(facts)
                watch.look(facts, now)
                if settle_at is not None and now >= settle_at:
                    settle_at = None
                    alerts.settle(lambda key: watch.owns(key) or manager.clears(key))
            except Exception as error:  # noqa: BLE001 -- one fact that cannot be had must not end the watch
                self._daemon.errors.count("lookout", error)
            self._looked_at = now
            await asyncio.sleep(_INTERVAL)

    def _facts(self, now: float) -> Facts:
        daemon, config = self._daemon, self._daemon.config
        risk = daemon.risk
        feed, broker, trading = daemon.manager.feed_report, self._report("broker"), self.trading
        live = feed.live if feed else None
        states = feed.symbols if feed else {}
        self._note_stale(states, now)
        self._refused.update(daemon.refused_writes, now)
        if feed:
            self._unrecorded.update(feed.recorder.dropped if feed.recorder else 0, now)
        ages = self._market_ages(now)
        return Facts(
            market_ages=ages,
            market_limits={symbol: config.engine_of(symbol).market_max_age for symbol in ages},
            market_reasons=states,
            market_stale={symbol: now - since for symbol, (since, _) in self._stale.items()},
            live_source=config.feed.source == "ccxt",
            feed_ended=feed is not None and feed.ended,
            engines=len(ages),
            ready=sum(worker.wanted and worker.ready for worker in daemon.manager.engines.values()),
            waiting=self._waiting(),
            no_model=self._no_model(),
            pool_trouble=daemon.manager.pool_trouble(),
            held=frozenset(risk.portfolio.positions),
            unprotected=tuple(broker.unprotected) if isinstance(broker, BrokerReport) else None,
            trading=trading,
            account=self._account(),
            latches={name: latch.reason for name, latch in risk.memory.latches.items()},
            ledgers_aside=self._ledgers_aside(),
            closing=daemon.desk.orders.kill_left,
            risk_state=risk.status.state,
            risk_reason=risk.status.reason,
            equity_known=risk.summary(boot_ns())["equity_now"] is not None,
            disk_free=free_bytes(config.supervisor.data_dir),
            disk_limit=config.alerts.disk_free_mb * 1e6,
            refused_lately=self._refused.count(now),
            ballast_freed=daemon.ballast.freed,
            exchange=live.exchange if live else "",
            cool_down=(live.cool_down_s if live else 0.0) if feed else None,
            cool_down_reason=live.cool_down_reason if live else "",
            recorder_dropped=self._unrecorded.count(now) if feed else None,
            recorder_trouble=feed.recorder.trouble if feed and feed.recorder else "",
            clock_offset=live.skew_ms / 1000 if live and live.skew_ms is not None else None,
            kernel_error=disciplined_error(),
            clock_limit=config.alerts.clock_skew,
            altdata_missing=self._altdata_missing(),
            notifier_trouble=self._notifier_trouble(),
        )

    @property
    def trading(self) -> LiveTradingReport | None:
        """How the books of a broker with real money stand to the exchange; None: on paper, or it does not tell."""
        broker = self._report("broker")
        return broker.live if isinstance(broker, BrokerReport) else None

    def _hold_back(self, trading: LiveTradingReport) -> None:
        """While something is missing, equity counts what is not there: nothing is opened on the strength of it."""
        reason = "; ".join(trading.drift.values())
        self._daemon.risk.stops.set_condition(_DRIFT, bool(trading.drift), reason)

    def _note_stale(self, states: Mapping[str, str], now: float) -> None:
        """What is live for a moment, and stale again, has been stale all the time."""
        for symbol, state in states.items():
            if state.startswith(STALE):
                self._stale[symbol] = (self._stale.get(symbol, (now, now))[0], now)
        self._stale = {s: (since, last) for s, (since, last) in self._stale.items() if now - last < _STEADY}

    def _waiting(self) -> Mapping[str, str]:
        return {
            symbol: worker.life.heartbeat.waiting_for if worker.life.heartbeat else ""
            for symbol, worker in self._daemon.manager.engines.items()
            if worker.wanted and worker.running and not worker.ready
        }

    def _account(self) -> str | None:
        worker = self._daemon.manager.workers.get("broker")
        heartbeat = worker.life.heartbeat if worker is not None and worker.running else None
        if heartbeat is None:
            return None
        return heartbeat.waiting_for if heartbeat.waiting_for.startswith((ACCOUNT, REFUSED)) else ""

    def _no_model(self) -> Mapping[str, str]:
        """One answer that was missed is no trouble, unless the pool says itself that it has none to give."""
        manager = self._daemon.manager
        trouble = describe_pool(manager.workers.values(), self._daemon.config.asks_model)["model_trouble"]
        reports = {symbol: self._report(worker.name) for symbol, worker in manager.engines.items()}
        return {
            symbol: report.no_model
            for symbol, report in reports.items()
            if isinstance(report, EngineReport) and report.no_model and (trouble or report.missed_in_a_row != 1)
        }

    def _ledgers_aside(self) -> Mapping[str, str]:
        reports = {symbol: self._report(worker.name) for symbol, worker in self._daemon.manager.engines.items()}
        return {
            symbol: report.ledger_aside
            for symbol, report in reports.items()
            if isinstance(report, EngineReport) and report.ledger_aside
        }

    def _altdata_missing(self) -> Mapping[str, str] | None:
        manager = self._daemon.manager
        report = manager.altdata_report
        if report is None:
            return None if ALTDATA in manager.workers else {}
        return {name: s.trouble for name, s in report.sources.items() if not s.ok and not s.values}

    def _notifier_trouble(self) -> str | None:
        report = self._report("notifier")
        if isinstance(report, NotifierReport):
            return report.trouble
        return None if "notifier" in self._daemon.manager.workers else ""

    def _report(self, name: str) -> Report | None:
        worker = self._daemon.manager.workers.get(name)
        heartbeat = worker.life.heartbeat if worker is not None and worker.running else None
        return heartbeat.report if heartbeat is not None else None

    def _market_ages(self, now: float) -> Mapping[str, float]:
        engines = self._daemon.manager.engines
        wanted = [symbol for symbol, worker in engines.items() if worker.wanted]
        self._expected = {symbol: self._expected.get(symbol, now) for symbol in wanted}
        return {
            symbol: now - max(self._daemon.desk.market_seen(symbol) or 0.0, since)
            for symbol, since in self._expected.items()
        }
