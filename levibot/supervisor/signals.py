"""What signals to the daemon's process ask for; whoever sent them is not known."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from levibot.api.caller import Caller
from levibot.errors import LeviBotError
from levibot.supervisor.console import terminal_is_there
from levibot.supervisor.operations import SupervisorOperations

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT stop, SIGHUP reloads.

    Parameters
    ----------
    daemon
        The daemon.
    table
        It shows a table on its terminal: SIGHUP may tell that this was closed.
    """

    def __init__(self, daemon: Daemon, *, table: bool) -> None:
        self._daemon = daemon
        self._table = table
        self._reloads: set[asyncio.Task[None]] = set()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take them from now on."""
        for signum in _STOPPING:
            loop.add_signal_handler(signum, self._stop, signum)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _stop(self, signum: signal.Signals) -> None:
        if not self._daemon.stopping:
            self._daemon.request_stop(signum.name)
            self._daemon.audit.note(Caller("signal", signum.name), "stop", "daemon")

    def _hang_up(self) -> None:
        if self._table and not terminal_is_there():
            self._daemon.request_stop("the terminal was closed")
            return
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        daemon, outcome = self._daemon, "done"
        try:
            await SupervisorOperations(daemon).reload()
        except LeviBotError as error:
            outcome = f"refused: {error}"
            daemon.log.error("reload_refused", error=str(error))
        except Exception as error:  # noqa: BLE001 -- nobody waits for this task
            outcome = f"failed: {error}"
            daemon.errors.count("reload", error)
        daemon.audit.note(Caller("signal", "SIGHUP"), "reload", "daemon", outcome=outcome)
