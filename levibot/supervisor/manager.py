"""All workers together: which there are, how they fare, and what follows when they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from levibot.alerting.alerts import Alerts
from levibot.api.operations import RefusedError
from levibot.bus.messages import AltDataReport, Crashed, FeedReport, Heartbeat, Hello, SymbolsChanged
from levibot.clock import boot_seconds
from levibot.config import PoliciesConfig, PolicyConfig
from levibot.config_ml import InferenceConfig
from levibot.errors import UnknownSymbolError
from levibot.market.states import FAILED
from levibot.spec import POOL, WorkerKind, engine_name, inference_name, tft_name
from levibot.supervisor.health import StallGuard, judge
from levibot.supervisor.life import Surroundings
from levibot.supervisor.registry import Registry
from levibot.supervisor.states import Desired, Observed
from levibot.supervisor.storm import SECONDS as STORM_SECONDS
from levibot.supervisor.storm import DeathWindow
from levibot.supervisor.worker import Worker

INFRASTRUCTURE: tuple[WorkerKind, ...] = ("broker", "feed")  # without which no engine can work
ALTDATA: WorkerKind = "altdata"
SERVING_SYMBOLS: tuple[WorkerKind, ...] = (*INFRASTRUCTURE, ALTDATA)
_PORTFOLIO: tuple[WorkerKind, ...] = (*INFRASTRUCTURE, "inference")  # nothing is opened while one keeps dying
_CAUSES = ("exhausted", "memory", "descriptors", "fence", "unstable")  # of alerts about one worker
_SLICES = 10  # a sample interval is cut into so many, so that no turn of the loop takes long
_REGISTRY_DELAY = 0.2

Conditions = Callable[[str, bool, str], None]


class Manager:
    """Keeps every worker in its desired state.

    Parameters
    ----------
    policies
        Numbers of each kind of worker.
    sample_interval, unique_memory_interval
        Seconds between two psutil samples, and between two readings of unique memory.
    registry
        Desired states, durable.
    alerts
        Where trouble is told.
    condition
        Called with a name, whether it holds, and why: the risk manager's ground for REDUCING.
    survived
        Called with the worker's name for each error met while looking at it: the others go on.
    """

    def __init__(
        self,
        policies: PoliciesConfig,
        *,
        sample_interval: float,
        unique_memory_interval: float,
        registry: Registry,
        alerts: Alerts,
        condition: Conditions,
        survived: Callable[[str, Exception], None],
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self._policies = policies
        self._interval = sample_interval
        self._unique_interval = unique_memory_interval
        self._registry = registry
        self._alerts = alerts
        self._condition = condition
        self._survived = survived
        self._deaths = DeathWindow()
        self._stall = StallGuard(max(policies.engine.heartbeat_interval, sample_interval) * 1.5)
        self._save_timer: asyncio.TimerHandle | None = None
        self._around: Surroundings | None = None
        self.watched_at = 0.0  # CLOCK_BOOTTIME in seconds: the newest turn of `watch`
        self.market_seen: Callable[[str], float | None] = lambda _symbol: None

    def attach(self, around: Surroundings) -> None:
        """Give what workers need; the manager is itself part of it, as their observer."""
        self._around = around

    # ------------------------------------------------------------------ which workers there are

    @property
    def engines(self) -> dict[str, Worker]:
        """Engines by symbol, in the order in which they were added."""
        return {w.symbol: w for w in self.workers.values() if w.symbol is not None}

    @property
    def symbols(self) -> list[str]:
        """Symbols that have an engine."""
        return list(self.engines)

    def add_shared(self, pool: InferenceConfig, *, notifier: bool, altdata: bool) -> None:
        """Make the workers that serve all symbols."""
        for kind in INFRASTRUCTURE:
            self._add(kind, kind, None)
        for index in range(pool.processes):
            self._add(inference_name(index), "inference", None)
        for index in range(pool.tft_processes):
            self._add(tft_name(index), "tft", None)
        if notifier:
            self._add("notifier", "notifier", None)
        if altdata:
            self._add(ALTDATA, ALTDATA, None)

    async def use_altdata(self, wanted: bool) -> None:
        """Begin or end the process of alternative data, as a changed configuration wants it."""
        worker = self.workers.get(ALTDATA)
        if wanted and worker is None:
            await self._add(ALTDATA, ALTDATA, None).start()
        elif worker is not None and not wanted:
            await worker.retire("no source is configured")
            self._forget(worker)

    @property
    def shared(self) -> list[Worker]:
        """The workers that serve all symbols."""
        return [worker for worker in self.workers.values() if worker.kind != "engine"]

    async def restart_shared(self, name: str) -> None:
        """Restart a worker that serves all symbols, for the operator: free of charge.

        Raises
        ------
        UnknownSymbolError
            If there is none of this name.
        RefusedError
            If it could not be started again, as the code has changed.
        """
        shared = {worker.name: worker for worker in self.shared}
        if name not in shared:
            raise UnknownSymbolError(f"no such worker: {name!r} (there are: {', '.join(shared)})")
        if self._around is not None and self._around.code_changed():
            changed = "the code on disk has changed since the daemon started"
            raise RefusedError(f"{name} was not restarted: {changed}", "run `levibotctl upgrade`")
        await shared[name].restart("operator")

    def add_engine(self, symbol: str) -> Worker:
        """Make the engine of `symbol`, stopped, with the paused state it was left in."""
        worker = self._add(engine_name(symbol), "engine", symbol)
        worker.paused = self._registry.entry(worker.name).paused
        return worker

    async def remove_engine(self, symbol: str) -> None:
        """Stop the engine of `symbol` and forget it; what it was told stays in the registry."""
        worker = self.engines[symbol]
        await worker.retire("symbol removed")
        self._forget(worker)

    def clears(self, key: str) -> bool:
        """Whether an alert of this key is cleared here, sooner or later."""
        cause, _, worker = key.partition(":")
        return cause == "crash_storm" or (cause in _CAUSES and worker in self.workers)

    def missing_infrastructure(self) -> str:
        """Name of a worker that every engine needs and that is not ready now; empty if none is missing."""
        return next((kind for kind in INFRASTRUCTURE if not self.workers[kind].ready), "")

    def ailments(self) -> list[str]:
        """What is wrong with the workers: those that are down against our wish, or needed and not ready."""
        down = [
            f"{worker.name} is {worker.observed}" + (f", waits for {waits}" if waits else "")
            for worker in self.workers.values()
            if worker.observed in (Observed.BACKOFF, Observed.EXHAUSTED)
            or (worker.kind in INFRASTRUCTURE and not worker.ready)
            for waits in [worker.life.heartbeat.waiting_for if worker.life.heartbeat else ""]
        ]
        pool = self.pool_trouble()
        return [*down, pool] if pool else down

    def pool_trouble(self) -> str:
        """What keeps the LightGBM lane from answering anybody; empty if nothing does, or if there is none.

        Nothing is opened without it; the ensemble goes on without the other lane.
        """
        pool = [worker for worker in self.workers.values() if worker.kind == "inference"]
        return "no inference process is ready" if pool and not any(worker.ready for worker in pool) else ""

    def set_policies(self, policies: PoliciesConfig) -> None:
        """Apply other numbers, at once and without a restart."""
        self._policies = policies
        for worker in self.workers.values():
            worker.policy = self._policy(worker.kind)

    def market_trouble(self, symbol: str) -> str:
        """Why the feed has no data of `symbol`; empty if it has, or knows of no reason."""
        report = self.feed_report
        state = report.symbols.get(symbol, "") if report is not None else ""
        return state if state.startswith(FAILED) else ""

    @property
    def recording_ended(self) -> bool:
        """Whether no more prices come, as what is played back has come to its end for every symbol."""
        report = self.feed_report
        return report is not None and report.ended

    @property
    def feed_report(self) -> FeedReport | None:
        """What the feed that runs said last; None if none runs, or before its first heartbeat."""
        feed = self.workers.get("feed")
        heartbeat = feed.life.heartbeat if feed is not None and feed.running else None
        report = heartbeat.report if heartbeat is not None else None
        return report if isinstance(report, FeedReport) else None

    @property
    def altdata_report(self) -> AltDataReport | None:
        """What the process of alternative data that runs said last; None if none runs."""
        worker = self.workers.get(ALTDATA)
        heartbeat = worker.life.heartbeat if worker is not None and worker.running else None
        report = heartbeat.report if heartbeat is not None else None
        return report if isinstance(report, AltDataReport) else None

    def tell_symbols(self, symbols: Iterable[str]) -> None:
        """Tell those who serve symbols which are wanted now."""
        wanted = list(symbols)
        for kind in SERVING_SYMBOLS:
            if kind in self.workers:
                self.workers[kind].command(lambda number: SymbolsChanged(number, wanted))

    # ------------------------------------------------------------------ all at once

    async def start_wanted(self) -> None:
        """Start what serves all symbols, and every engine whose desired state is up."""
        wanted = [
            worker
            for worker in self.workers.values()
            if worker.kind != "engine" or self._registry.entry(worker.name).desired is Desired.UP
        ]
        await asyncio.gather(*(worker.start() for worker in wanted))

    async def stop_all(self, reason: str) -> None:
        """Stop the engines, then those that served them. Desired states stay as they are."""
        for group in (list(self.engines.values()), self.shared):
            await asyncio.gather(*(worker.retire(reason) for worker in group))
        self._save_now()

    # ------------------------------------------------------------------ what workers say

    def on_life(self, message: Hello | Crashed) -> None:
        """First word of a process, or the last of one that crashes."""
        worker = self.workers.get(message.worker)
        if worker is None:
            return
        if isinstance(message, Hello):
            worker.on_hello(message.incarnation)
        else:
            worker.on_crash(message.incarnation, message.error)

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Sign of life of a process."""
        if (worker := self.workers.get(heartbeat.worker)) is not None:
            worker.on_heartbeat(heartbeat)

    # ------------------------------------------------------------------ Observer

    def changed(self, worker: Worker) -> None:
        """Write the registry, soon and once for many changes."""
        life = worker.life
        self._registry.update(
            worker.name,
            observed=worker.observed,
            pid=life.process.pid if life.process else None,
            start_ticks=life.process.start_ticks if life.process else None,
        )
        if worker.ready:
            self._alerts.clear(f"fence:{worker.name}")
        if worker.ready or worker.observed is Observed.STOPPED:
            self._alerts.clear(f"exhausted:{worker.name}")
        if self._save_timer is None:
            self._save_timer = asyncio.get_running_loop().call_later(_REGISTRY_DELAY, self._save_now)

    def died(self, worker: Worker, cause: str) -> None:
        """Fifteen deaths at once are one alert; feed or broker dying too often is a reason not to trade."""
        now = boot_seconds()
        if worker.kind == "engine":
            self._deaths.note(worker.name, now)
            died, engines = self._deaths.engines(now), len(self.engines)
            if self._deaths.storm(engines, now):
                self._alerts.raise_alert(
                    "crash_storm",
                    "critical",
                    f"{died} of {engines} engines died within {STORM_SECONDS:g} s (last: {cause})",
                    "look for a common cause in the logs: memory, disk, or the last change",
                )
        elif len(worker.restarts()) >= worker.policy.restart_alert:
            self._tell_unstable(worker, cause)

    def _tell_unstable(self, worker: Worker, cause: str) -> None:
        needed = worker.kind in _PORTFOLIO
        if needed:
            self._condition(f"unstable:{worker.name}", True, f"{worker.name} keeps dying ({cause})")
        self._alerts.raise_alert(
            f"unstable:{worker.name}",
            "critical",
            f"{worker.name} was restarted more than {worker.policy.restart_alert} times in an hour ({cause})",
            f"read `levibotctl logs {worker.name}`"
            + ("; no position is opened until it is stable" if needed else ""),
        )

    def exhausted(self, worker: Worker) -> None:
        """Its budget is spent."""
        self._alerts.raise_alert(
            f"exhausted:{worker.name}",
            "critical",
            f"{worker.name} has used up its restarts; last error: {worker.last_error}",
            f"mend the cause, then `levibotctl reset {worker.symbol or worker.name}`",
        )

    # ------------------------------------------------------------------ health

    async def watch(self) -> None:
        """Sample and judge every worker once in each sample interval, for ever."""
        turn = 0
        while True:
            await asyncio.sleep(self._interval / _SLICES)
            turn += 1
            now = self.watched_at = boot_seconds()
            may_judge = self._stall.may_judge(now)
            for worker in list(self.workers.values())[turn % _SLICES :: _SLICES]:
                try:
                    self._look_at(worker, now, may_judge=may_judge)
                except Exception as error:  # noqa: BLE001 -- one worker must not keep the others unwatched
                    self._survived(worker.name, error)
            if turn % _SLICES == 0:
                self._calm_down(now)

    def _look_at(self, worker: Worker, now: float, *, may_judge: bool) -> None:
        worker.check_timer(now)
        life = worker.life
        if life.process is None:
            return
        limit = worker.policy.max_memory_mb * 1e6
        suspicious = life.sample is not None and life.sample.rss_bytes > limit
        due = now - life.unique_at >= self._unique_interval
        life.sample = life.process.sample(unique_memory=due or suspicious) or life.sample
        if life.sample is not None and life.sample.uss_bytes is not None:
            life.uss_bytes, life.unique_at = life.sample.uss_bytes, now
        if not may_judge or worker.observed not in (Observed.STARTING, Observed.RUNNING):
            return
        market_there = self.market_seen(worker.symbol) if worker.symbol else None
        verdict = judge(worker.vitals(now, market_there), worker.policy, now)
        if verdict is not None:
            if verdict.cause in ("memory", "descriptors") and life.verdict is None:
                section = f"[policy.{_policy_name(worker.kind)}]"
                self._alerts.raise_alert(
                    f"{verdict.cause}:{worker.name}",
                    "warning",
                    f"{worker.name} is recycled: {verdict.reason}",
                    f"look for a leak in its strategy, or raise the limit under {section}",
                )
            worker.replace(verdict)

    def _calm_down(self, now: float) -> None:
        if not self._deaths.engines(now):
            self._alerts.clear("crash_storm")
        for worker in self.workers.values():
            restarts = len(worker.restarts())
            if worker.kind != "engine" and restarts < worker.policy.restart_alert:
                self._condition(f"unstable:{worker.name}", False, "")
                self._alerts.clear(f"unstable:{worker.name}")
            if not restarts:  # the next one is news again
                self._alerts.clear(f"memory:{worker.name}")
                self._alerts.clear(f"descriptors:{worker.name}")
        self._registry.save()  # what a full disk refused; nothing otherwise

    # ------------------------------------------------------------------ parts

    def _add(self, name: str, kind: WorkerKind, symbol: str | None) -> Worker:
        if self._around is None:
            raise AssertionError("attach() comes first")
        worker = Worker(name, kind, symbol, self._policy(kind), self._around)
        self.workers[name] = worker
        return worker

    def _forget(self, worker: Worker) -> None:
        if self.workers.get(worker.name) is worker:  # another command may have removed it meanwhile
            del self.workers[worker.name]
            for cause in _CAUSES:
                self._alerts.clear(f"{cause}:{worker.name}")

    def _policy(self, kind: WorkerKind) -> PolicyConfig:
        policy: PolicyConfig = getattr(self._policies, _policy_name(kind))
        return policy

    def _save_now(self) -> None:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        self._registry.save()


def _policy_name(kind: WorkerKind) -> str:
    """Section of ``[policy]`` that holds for a kind of worker: all lanes of the pool share one."""
    return "inference" if kind in POOL else kind
