"""Alerts about what a start finds: files that were damaged, fences that somebody still holds."""

from __future__ import annotations

from pathlib import Path

from levibot.alerting.alerts import Alerts
from levibot.observability.logging import Logger
from levibot.risk.memory import RiskMemory
from levibot.spec import engine_name
from levibot.supervisor.history import RestartHistory
from levibot.supervisor.orphans import StaleHolder
from levibot.supervisor.registry import Registry


def report_stale_holder(alerts: Alerts, log: Logger, fences: Path, holder: StaleHolder) -> None:
    """Say what became of a process of a life before that held a fence."""
    log.warning("stale_fence", stale_worker=holder.worker, outcome=holder.outcome, pid=holder.pid)
    if holder.holds:
        alerts.raise_alert(
            f"fence:{holder.worker}",
            "critical",
            f"the fence of {holder.worker} is held by a process that cannot be identified or killed",
            f"find it with `fuser {fences / holder.worker}.lock` and end it",
        )


def report_damage(
    alerts: Alerts, registry: Registry, history: RestartHistory, memory: RiskMemory, symbols: tuple[str, ...]
) -> None:
    """Say what was set aside. A registry that was no longer tells what the operator wanted: open nothing."""
    if registry.set_aside is not None:
        for symbol in symbols:
            registry.update(engine_name(symbol), paused=True)
        registry.save()
        remedy = "all symbols start paused; check them, then `levibotctl resume SYMBOL`"
        _raise_damage(alerts, "registry", registry.set_aside, remedy)
    if history.set_aside is not None:
        _raise_damage(alerts, "restart history", history.set_aside, "restart budgets may be too generous")
    if memory.set_aside is not None:
        remedy = "the kill switch is on, as it may have been; `levibotctl kill off` when you have checked"
        _raise_damage(alerts, "risk memory", memory.set_aside, remedy)


def _raise_damage(alerts: Alerts, what: str, set_aside: Path, remedy: str) -> None:
    key = f"{what.replace(' ', '_')}_damaged"
    alerts.raise_alert(key, "critical", f"the {what} was damaged; it is set aside as {set_aside}", remedy)
