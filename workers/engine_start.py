"""What an engine must have before there is anything to recover: its fence, its strategy, its ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from levibot.bus.messages import EngineReport, Stop
from levibot.clock import wall_ms
from levibot.engine.core import DecisionCore
from levibot.engine.recording import Header, Recorder
from levibot.errors import ConfigError, FullDiskError, LockedStoreError
from levibot.execution.ledger import Ledger
from levibot.strategies.base import Strategy
from levibot.strategies.loader import load_strategy
from workers.runtime import Runtime

_RETRY_MS = 20

T = TypeVar("T")


EMPTY_REPORT = EngineReport(
    price=None,
    signal=None,
    probability=None,
    confidence=None,
    position=None,
    entry_price=None,
    daily_pnl=None,
    total_pnl=None,
    trade_count=0,
    signals={},
    ticks=0,
    conflated=0,
    tick_latency_us=0,
    bar_ms=None,
)


class Preparation:
    """Gets one thing after the other, and beats while it waits.

    Parameters
    ----------
    runtime
        Of the worker.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._problem = ""

    def wait_for(self, what: str, attempt: Callable[[], T]) -> T | None:
        """Repeat `attempt` until it gives something; None if a stop came first."""
        runtime = self._runtime
        while True:
            result = attempt()
            if result:
                return result
            runtime.status.waiting_for = what
            runtime.status.turns += 1
            runtime.beat(_empty_report)
            runtime.control.poll(_RETRY_MS, zmq.POLLIN)
            for command in runtime.commands():
                runtime.acknowledge(command)
                if isinstance(command, Stop):
                    return None

    def open_ledger(self) -> Ledger | None:
        """Open the ledger, or None if it may open later."""
        spec = self._runtime.spec
        try:
            spec.ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Ledger.open(spec.ledger, spec.symbol, spec.instance)
        except (LockedStoreError, FullDiskError) as error:
            problem = str(error)
        except OSError as error:
            problem = f"{spec.ledger.parent}: {error}"
        if problem != self._problem:
            self._problem = problem
            self._runtime.status.fail(problem)
            self._runtime.log.error("ledger_not_opened", error=problem)
        return None


def make_strategy(runtime: Runtime) -> Strategy:
    """Make the strategy that the configuration names.

    Raises
    ------
    ConfigError
        If that cannot be done; the heartbeat has said so already.
    """
    spec = runtime.spec
    if spec.engine is None:
        raise ConfigError(f"{spec.worker}: started without engine settings")
    folders = [Path.cwd(), *([spec.config_dir] if spec.config_dir else [])]
    try:
        return load_strategy(spec.engine.strategy, spec.engine.strategy_options, folders)
    except ConfigError as error:
        runtime.status.fail(str(error))
        runtime.beat(_empty_report, force=True)  # the operator reads it in the status, not only in the log
        raise


def _empty_report() -> EngineReport:
    return EMPTY_REPORT


def report_decisions(core: DecisionCore) -> EngineReport:
    """What the core itself can say; positions and counts are the caller's."""
    signal, opinion = core.signal, core.opinion
    return msgspec.structs.replace(
        EMPTY_REPORT,
        price=core.market.mark,
        signal=signal.direction if signal else None,
        probability=signal.probability if signal else None,
        confidence=signal.confidence if signal else None,
        signals=dict(core.signals),
        bar_ms=core.market.bar_ms or None,
        prob_up=opinion.probability,
        components=opinion.components,
    )


def open_recorder(runtime: Runtime, first_request_id: int) -> Recorder | None:
    """Begin a recording if the configuration wants one; a full disk costs the recording, not the engine."""
    spec = runtime.spec
    if spec.engine is None or not spec.engine.record_inputs:
        return None
    now_ms = wall_ms()
    started = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    path = spec.state_dir / "recordings" / f"{spec.worker}-{started}-{spec.incarnation}.msgpack"
    header = Header(
        spec.symbol,
        spec.engine,
        first_request_id,
        runtime.status.paused,
        spec.worker,
        spec.incarnation,
        now_ms,
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        recorder = Recorder(path.open("xb"), header)
    except OSError as error:
        runtime.status.fail(f"recording_not_begun: {error}")
        runtime.log.error("recording_not_begun", error=str(error))
        return None
    runtime.log.info("recording_begun", path=str(path))
    return recorder
