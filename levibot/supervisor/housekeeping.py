"""Keeps the disk in order, in threads: old files are swept away once an hour, the ballast is looked after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from levibot.bus.messages import BrokerReport, EngineReport
from levibot.clock import boot_seconds, wall_ms
from levibot.observability.retention import Sweep, sweep
from levibot.supervisor.health import ErrorWindow
from levibot.supervisor.machine import free_bytes

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon
    from levibot.supervisor.worker import Worker

_INTERVAL = 3600.0
_LOOK_INTERVAL = 1.0
_LATELY = 60.0  # seconds
_DISK_FULL = "disk_full"


async def keep_house(daemon: Daemon) -> None:
    """Sweep for ever; whatever goes wrong is counted, and tried again an hour later."""
    loop = asyncio.get_running_loop()
    while True:
        lives = [worker.life.process for worker in daemon.manager.workers.values()]
        pids = [process.pid for process in lives if process is not None]
        try:
            result = await loop.run_in_executor(None, sweep, daemon.config, pids, wall_ms())
        except Exception as error:  # noqa: BLE001 -- a full disk is no reason to stop trading
            daemon.errors.count("retention", error)
        else:
            _report(daemon, result)
        await asyncio.sleep(_INTERVAL)


async def keep_ballast(daemon: Daemon) -> None:
    """Look after the ballast for ever; without it nothing is opened."""
    loop, refused = asyncio.get_running_loop(), ErrorWindow(_LATELY)
    while True:
        supervisor, now = daemon.config.supervisor, boot_seconds()
        refused.update(sum(map(_refused_writes, daemon.manager.workers.values())), now)
        free, size = free_bytes(supervisor.data_dir), supervisor.ballast_mb * 1_000_000
        before = daemon.ballast.freed
        try:
            await loop.run_in_executor(None, daemon.ballast.look, size, free, refused.count(now))
        except OSError as error:
            daemon.errors.count("ballast", error)
        freed = daemon.ballast.freed
        if bool(freed) != bool(before):
            daemon.log.warning("ballast", freed=freed)
            daemon.risk.stops.set_condition(_DISK_FULL, bool(freed), f"the disk is full: {freed}")
        await asyncio.sleep(_LOOK_INTERVAL)


def _refused_writes(worker: Worker) -> int:
    heartbeat = worker.totals.heartbeat
    report = heartbeat.report if heartbeat is not None else None
    return report.refused_writes if isinstance(report, EngineReport | BrokerReport) else 0


def _report(daemon: Daemon, result: Sweep) -> None:
    for error in result.errors:
        daemon.errors.count("retention", error)
    if result.removed or result.trimmed:
        daemon.log.info(
            "old_files_removed", **result.removed, trimmed=result.trimmed, freed_bytes=result.freed_bytes
        )
