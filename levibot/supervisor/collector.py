"""One collector for the whole system: what the supervisor knows, labelled by symbol and never by pid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

from levibot.clock import boot_ns
from levibot.observability.exposition import Exposition
from levibot.observability.metrics import Subjects
from levibot.spec import POOL
from levibot.supervisor.altdata_metrics import ALTDATA_FAMILIES
from levibot.supervisor.daemon_metrics import DAEMON_FAMILIES, DaemonView, look
from levibot.supervisor.equity_metrics import EQUITY_FAMILIES
from levibot.supervisor.feed_metrics import FEED_FAMILIES
from levibot.supervisor.supervisor_metrics import SUPERVISOR_FAMILIES
from levibot.supervisor.trading_metrics import TRADING_FAMILIES
from levibot.supervisor.worker_metrics import ENGINE_FAMILIES, INFERENCE_FAMILIES, WORKER_FAMILIES, WorkerView

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_WHOLE = (
    *DAEMON_FAMILIES,
    *SUPERVISOR_FAMILIES,
    *EQUITY_FAMILIES,
    *FEED_FAMILIES,
    *ALTDATA_FAMILIES,
    *TRADING_FAMILIES,
)
_SLICE_NS = 2_000_000  # the loop has other things to do


class MetricsCollector:
    """A collector of prometheus_client, over one daemon.

    Parameters
    ----------
    daemon
        The daemon.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._workers: Subjects[WorkerView] = Subjects(("worker", "symbol"), lambda view: (view.name, view.symbol))
        self._engines: Subjects[WorkerView] = Subjects(("symbol",), lambda view: (view.symbol,))
        self._pool: Subjects[WorkerView] = Subjects(("worker",), lambda view: (view.name,))
        self._whole: Subjects[DaemonView] = Subjects((), lambda _view: ())
        self._process = ProcessCollector(registry=None)  # the supervisor's own, under the names that all use
        self._known: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """All metrics, as things are now."""
        workers, daemon = look(self._daemon)
        self._forget_removed(workers)
        return chain(
            self._whole.collect(_WHOLE, [daemon]),
            self._workers.collect(WORKER_FAMILIES, workers),
            self._engines.collect(ENGINE_FAMILIES, [view for view in workers if view.kind == "engine"]),
            self._pool.collect(INFERENCE_FAMILIES, [view for view in workers if view.kind in POOL]),
            self._process.collect(),
        )

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Text of all metrics in the form that `accept` asks for, and its content type.

        It is made of one moment's state, but in slices: between them the loop does what else is due.
        """
        exposition = Exposition(accept)
        parts: list[str] = []
        began = boot_ns()
        for part in exposition.parts(self.collect()):
            parts.append(part)
            if boot_ns() - began > _SLICE_NS:
                await asyncio.sleep(0)
                began = boot_ns()
        return "".join(parts).encode(), exposition.content_type

    def _forget_removed(self, workers: list[WorkerView]) -> None:
        names = {view.name for view in workers}
        if self._known - names:
            for subjects in (self._workers, self._engines, self._pool):
                subjects.forget()
            self._whole.forget()
        self._known = names
