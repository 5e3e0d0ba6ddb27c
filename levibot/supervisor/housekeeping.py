"""Sweeps old files away: at the start, and then once an hour, in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from levibot.clock import wall_ms
from levibot.observability.retention import Sweep, sweep

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_INTERVAL = 3600.0


async def keep_house(daemon: Daemon) -> None:
    """Sweep for ever; whatever goes wrong is counted, and tried again an hour later."""
    loop = asyncio.get_running_loop()
    while True:
        lives = [worker.life.process for worker in daemon.manager.workers.values()]
        pids = [process.pid for process in lives if process is not None]
        try:
            result = await loop.run_in_executor(None, sweep, daemon.config, pids, wall_ms())
        except Exception as error:  # noqa: BLE001 -- a full disk is no reason to stop trading
            daemon.count_error("retention", error)
        else:
            _report(daemon, result)
        await asyncio.sleep(_INTERVAL)


def _report(daemon: Daemon, result: Sweep) -> None:
    for error in result.errors:
        daemon.count_error("retention", error)
    if result.removed or result.trimmed:
        daemon.log.info(
            "old_files_removed", **result.removed, trimmed=result.trimmed, freed_bytes=result.freed_bytes
        )
