"""The daemon: wires the supervisor's parts together and runs them until it is asked to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from typing import Any

import zmq

from levibot import __version__
from levibot.alerting.alerts import Alerts
from levibot.alerting.journal import AlertJournal
from levibot.api.caller import starter
from levibot.api.operations import ShuttingDownError
from levibot.api.server import ApiServer
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import Crashed, Hello
from levibot.clock import boot_ns, boot_seconds, wall_ms
from levibot.config import Config, EngineConfig
from levibot.config_file import LoadedConfig, api_socket, endpoints, make_run_dir, remove_sockets
from levibot.errors import StopError
from levibot.observability.logging import open_log
from levibot.risk.manager import RiskManager
from levibot.spec import engine_name
from levibot.supervisor.audit import AUDIT_FILE, AuditTrail
from levibot.supervisor.ballast import BALLAST, Ballast
from levibot.supervisor.channels import ControlChannel, HeartbeatChannel
from levibot.supervisor.console import ConsoleProcess
from levibot.supervisor.equity_recorder import EquityRecorder
from levibot.supervisor.history import RestartHistory
from levibot.supervisor.housekeeping import keep_ballast, keep_house
from levibot.supervisor.identity import full_name, instance, new_epoch
from levibot.supervisor.leash import Leash
from levibot.supervisor.life import Surroundings
from levibot.supervisor.lookout import Lookout
from levibot.supervisor.loop_lag import LoopLag
from levibot.supervisor.manager import SERVING_SYMBOLS, Manager
from levibot.supervisor.notices import report_damage, report_stale_holder
from levibot.supervisor.notify import ServiceManager
from levibot.supervisor.operations import SupervisorOperations
from levibot.supervisor.orphans import clear_stale_holders
from levibot.supervisor.presence import longest_stop, summary, works
from levibot.supervisor.process import ForkserverLauncher
from levibot.supervisor.registry import Registry
from levibot.supervisor.risk_desk import RiskDesk
from levibot.supervisor.signals import Signals
from levibot.supervisor.specs import SpecFactory
from levibot.supervisor.status import describe_pool
from levibot.supervisor.survived import SurvivedErrors
from levibot.supervisor.version import CodeGuard

_ORPHAN_GRACE = 1.0  # seconds; a live broker's own grace comes on top of it


class Daemon:
    """One supervisor, from start to stop.

    Parameters
    ----------
    loaded
        The configuration and where it came from.
    service
        What systemd set in the environment; see `notify.take_variables`.
    keys
        What the environment told of the account's key; for the broker alone.
    table
        Show the live table on this terminal.
    """

    def __init__(
        self, loaded: LoadedConfig, service: Mapping[str, str], keys: Mapping[str, str], *, table: bool
    ) -> None:
        self._keys = keys
        self.loaded = loaded
        self.service = ServiceManager(service, lambda error: self.errors.count("notify", error))
        self.stopping = False
        self._table = table
        self._again = False
        self._failed: BaseException | None = None
        self._console: ConsoleProcess | None = None
        self._stop = asyncio.Event()
        self._started = boot_seconds()
        config = loaded.config
        self.log, self._log_file = open_log(
            config.log_dir,
            "supervisor",
            level=config.logging.level,
            retention_days=config.logging.retention_days,
        )
        self.errors = SurvivedErrors(self.log)
        self.reloading = asyncio.Lock()
        self.alerts = Alerts(self.log, AlertJournal.of(config), full_name(config), wall_ms)
        self.api = ApiServer(SupervisorOperations(self), config.api, config.supervisor.data_dir, self.alerts)
        self.lag = LoopLag()
        self._code = CodeGuard()

    @property
    def failed(self) -> bool:
        """Whether a task without which nothing may trade has died."""
        return self._failed is not None

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._specs.config

    async def run(self) -> bool:
        """Run until asked to stop; True if the daemon is to be started again."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        Signals(self, table=self._table).listen(loop)
        try:
            self._wire(loop)
        except (OSError, zmq.ZMQError) as error:
            raise StopError(
                f"cannot start: {error}; correct supervisor.data_dir and supervisor.run_dir"
            ) from error
        await self.alerts.load()
        parts = (self.desk, self.equity, self.lag, self.lookout, self.audit)
        duties = [self.manager.watch(), keep_house(self), keep_ballast(self), *(part.run() for part in parts)]
        tasks = [loop.create_task(duty) for duty in duties]
        for task in tasks:
            task.add_done_callback(self._on_task_end)
        reports = loop.create_task(self.service.report(lambda: works(self), lambda: summary(self)))
        reports.add_done_callback(self._on_task_end)
        try:
            await self._start(loop)
            self.service.ready()
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            self.service.ending(longest_stop(self.config.policy), again=self._again)
            await self._shut_down()
            reports.cancel()
        if self._failed is not None:
            raise StopError(f"a task of the supervisor died: {self._failed!r}; see the supervisor's log")
        return self._again

    def request_stop(self, reason: str, *, again: bool = False) -> None:
        """Begin one clean stop; more requests change nothing."""
        if not self.stopping:
            self.stopping = True
            self._again = again
            self.log.info("daemon_stopping", reason=reason)
            self._stop.set()

    # ------------------------------------------------------------------ what operations need

    def engine_config(self, symbol: str) -> EngineConfig:
        """Settings that the engine of `symbol` was last started with, or would be."""
        return self._engine_configs.get(symbol) or self.config.engine_of(symbol)

    def use_config(self, config: Config) -> None:
        """Put another configuration in force, for what is started from now on."""
        self._specs.config = config
        self.manager.set_policies(config.policy)
        self.risk.use(config.risk)

    async def add_symbol(self, symbol: str) -> None:
        """Begin to trade a symbol."""
        if self.stopping:
            raise ShuttingDownError("the daemon is shutting down")
        worker = self.manager.add_engine(symbol)
        self._tell_symbols()
        if self._wanted(symbol):
            await worker.start()

    async def remove_symbol(self, symbol: str) -> None:
        """End the engine of a symbol; an open position stays with the broker's protective orders."""
        await self.manager.remove_engine(symbol)
        self._engine_configs.pop(symbol, None)
        self._tell_symbols()

    def served_symbols(self) -> list[str]:
        """What the feed streams: every engine's symbol, and every symbol that holds a position."""
        return list(dict.fromkeys([*self.manager.symbols, *self.positions()]))

    def positions(self) -> dict[str, float]:
        """Open positions by symbol: signed base amounts, from the broker's fills."""
        held = self.risk.portfolio.positions
        return {symbol: float(position.quantity) for symbol, position in held.items() if position.quantity}

    @property
    def refused_writes(self) -> int:
        """Writes of the supervisor's own that the disk refused."""
        stores = (
            self._log_file,
            self.registry,
            self.history,
            self.risk.memory,
            self.alerts,
            self.audit,
            self.equity,
        )
        return sum(store.refused for store in stores)

    def describe(self) -> dict[str, Any]:
        """The daemon's own part of the status document."""
        config, summary = self.config, self.risk.summary(boot_ns())
        return {
            "pid": os.getpid(),
            "version": __version__,
            "uptime_seconds": round(boot_seconds() - self._started, 3),
            "mode": config.mode,
            "exchange": config.exchange_id,
            "account": config.exchange.account,
            "source": config.feed.source,
            "disclosure": config.disclosure,
            "config_path": str(self.loaded.path) if self.loaded.path else None,
            "data_dir": str(config.supervisor.data_dir),
            "market_ms": self.desk.market_ms,
            "recording_ended": self.manager.recording_ended,
            "code_changed": self._code.changed(),
            "shutting_down": self.stopping,
            **describe_pool(self.manager.workers.values(), config.asks_model),
            "risk_state": summary["state"],
            "risk_reason": summary["reason"],
            "equity": summary["equity_now"],
            "errors": dict(self.errors.counts),
            "refused_writes": self.refused_writes,
            "forkserver_pid": self.launcher.forkserver_pid,
            "api": self.api.describe(),
        }

    # ------------------------------------------------------------------ start

    def _wire(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.loaded.config
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._leash = Leash(make_run_dir(config) / "leash")
        ends, epoch, key = endpoints(config), new_epoch(config.state_dir), secrets.token_bytes(32)
        self._engine_configs: dict[str, EngineConfig] = {}
        self._served: set[str] = set()  # what feed and broker were told last
        self.registry = Registry.open(config.state_dir / "registry.json")
        window = max(policy.restart_window for _, policy in config.policy)
        self.history = RestartHistory(config.state_dir / "restarts.jsonl", window)
        self.audit = AuditTrail(
            config.state_dir / AUDIT_FILE, wall_ms, lambda error: self.errors.count("audit", error)
        )
        self.risk = RiskManager(config.risk, key, epoch, config.state_dir / "risk.json", audit=self.audit.on_latch)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.forwarder = Forwarder(ends.publishers, ends.subscribers)
        self.manager = Manager(
            config.policy,
            sample_interval=config.supervisor.sample_interval,
            unique_memory_interval=config.supervisor.unique_memory_interval,
            registry=self.registry,
            alerts=self.alerts,
            condition=self.risk.stops.set_condition,
            survived=self.errors.count,
        )
        self.heartbeats = HeartbeatChannel(
            loop, self._context, ends.heartbeat, self.manager.on_heartbeat, self.errors.count
        )
        self.control = ControlChannel(loop, self._context, ends.control, self._on_life, self.errors.count)
        self.desk = RiskDesk(
            loop,
            self._context,
            ends,
            self.risk,
            lockstep=config.feed.lockstep,
            log=self.log,
            malformed=self.errors.count,
        )
        self.manager.market_seen = self.desk.market_seen
        self.desk.on_account = self._on_account
        self.ballast = Ballast(config.state_dir / BALLAST)
        self.equity = EquityRecorder(config.state_dir, self.risk, self.desk, self.alerts, self.errors.count)
        self.lookout = Lookout(self)
        self.launcher = ForkserverLauncher(self.log.warning)
        self._specs = SpecFactory(
            config,
            ends,
            instance(config.state_dir),
            epoch,
            key,
            self._leash.path,
            self.served_symbols,
            self._engine_configs,
            self.loaded.path.parent if self.loaded.path else None,
            self._keys,
        )
        self.manager.attach(
            Surroundings(
                launcher=self.launcher,
                slots=asyncio.Semaphore(config.supervisor.starts_in_flight),
                control=self.control,
                history=self.history,
                observer=self.manager,
                log=self.log,
                make_spec=self._specs.make,
                code_changed=self._code.changed,
            )
        )

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.loaded.config
        self.log.info(
            "daemon_started",
            pid=os.getpid(),
            version=__version__,
            mode=config.mode,
            exchange=config.exchange_id,
            config=str(self.loaded.path) if self.loaded.path else "embedded defaults",
            disclosure=config.disclosure,
        )
        self.audit.note(starter(), "start", "daemon")
        for warning in self.loaded.warnings:
            self.log.warning("configuration_warning", text=warning)
        report_damage(self.alerts, self.registry, self.history, self.risk.memory, config.symbols)
        fences = config.state_dir / "fences"
        grace = _ORPHAN_GRACE + (config.live.deadman_grace if config.mode == "live" else 0.0)
        for holder in await loop.run_in_executor(None, clear_stale_holders, fences, grace):
            report_stale_holder(self.alerts, self.log, fences, holder)
        self.manager.add_shared(
            config.inference, notifier=config.alerts.wants_notifier, altdata=config.altdata.enabled
        )
        for symbol in config.symbols:
            self.manager.add_engine(symbol)
        await self.manager.start_wanted()
        await self._serve_api()

    async def _serve_api(self) -> None:
        path = api_socket(self.config)
        await self.api.start(path)
        if self._table:
            self._console = ConsoleProcess(path)
            self.launcher.add_companion(self._console.pid)
        else:
            address = self.api.describe()["address"]
            reached = f"{address}, socket {path}" if address else f"socket {path}"
            print(f"levibot {__version__} runs: {self.config.disclosure}; {reached}", flush=True)

    # ------------------------------------------------------------------ stop

    async def _shut_down(self) -> None:
        await self.manager.stop_all("daemon stops")
        if self._console is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._console.close)
        await self.api.close()
        self.forwarder.close()
        self.desk.close()
        self.heartbeats.close()
        self.control.close()
        self._context.term()
        await self.launcher.close()
        self._leash.close()
        remove_sockets(self._specs.endpoints)
        await self.equity.close()
        await self.alerts.close()
        self.log.info("daemon_stopped", positions=self.positions())
        self._log_file.close()

    # ------------------------------------------------------------------ events

    def _on_life(self, message: Hello | Crashed) -> None:
        self.manager.on_life(message)
        if isinstance(message, Hello) and message.worker == "broker":
            self.desk.broker_started()
        if isinstance(message, Hello) and message.worker in SERVING_SYMBOLS:
            self._tell_symbols()  # they may have changed since its start was prepared

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        """Without health or risk nothing may trade: stop, and let whoever started us start us again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.critical("task_died", exc_info=error)
            self._failed = error
            self.request_stop("a task of the supervisor died")

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        if isinstance(error, Exception):
            self.errors.count("loop", error)
        else:
            loop.default_exception_handler(context)

    def _on_account(self) -> None:
        """A removed symbol's position needs prices too, also if its last entry was filled after the removal."""
        if not self._served.issuperset(self.positions()):
            self._tell_symbols()

    def _tell_symbols(self) -> None:
        symbols = self.served_symbols()
        self._served = set(symbols)
        self.manager.tell_symbols(symbols)

    def _wanted(self, symbol: str) -> bool:
        return self.registry.entry(engine_name(symbol)).desired == "up"
