"""How the daemon stands, in the few words that a service manager wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levibot.clock import boot_seconds
from levibot.config import PoliciesConfig
from levibot.supervisor.lookout import LOOP_PATIENCE

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_STOP_MARGIN = 5.0  # seconds for what is not a worker: sockets, the forkserver, open requests


def works(daemon: Daemon) -> bool:
    """Whether workers are being watched; after the order to stop, whether the loop turns."""
    if daemon.failed:
        return False
    return daemon.stopping or boot_seconds() - daemon.manager.watched_at <= LOOP_PATIENCE


def summary(daemon: Daemon) -> str:
    """One line for `systemctl status`."""
    engines = daemon.manager.engines.values()
    ready = sum(worker.ready for worker in engines)
    stopping = "stopping, " if daemon.stopping else ""
    return f"{stopping}{ready} of {len(engines)} engines ready, risk {daemon.risk.status.state}"


def longest_stop(policies: PoliciesConfig) -> float:
    """Seconds that a clean stop may take: engines first, then what served them."""
    shared = max(policy.stop_grace for kind, policy in policies if kind != "engine")
    return float(policies.engine.stop_grace + shared + _STOP_MARGIN)
