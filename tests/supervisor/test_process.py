"""The launcher, with real worker processes from a real forkserver."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from levibot.config import EngineConfig, LoggingConfig
from levibot.errors import LaunchError
from levibot.spec import Endpoints, WorkerSpec
from levibot.supervisor.leash import Leash
from levibot.supervisor.process import ForkserverLauncher, LocalProcess

START_S = 50.0  # a forkserver loads its modules first, and the machine may be slow
Scenario = Callable[[ForkserverLauncher, WorkerSpec, list[str]], Coroutine[Any, Any, None]]


def play(run_dir: Path, scenario: Scenario) -> list[str]:
    """Run a scenario with a launcher and a spec; the events that the launcher told."""
    names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
    spec = WorkerSpec(
        kind="engine",
        worker="engine-BTC-USDT",
        incarnation=1,
        supervisor_epoch=1,
        instance="TEST",
        endpoints=Endpoints(**{name: f"ipc://{run_dir / name}" for name in names}),
        state_dir=run_dir / "state",
        log_dir=run_dir / "logs",
        heartbeat_interval=1.0,
        logging=LoggingConfig(),
        symbols=("BTC/USDT",),
        leash=run_dir / "leash",
        engine=EngineConfig(strategy="sma_cross"),  # one that lives without a pool
    )
    events: list[str] = []
    leash = Leash(run_dir / "leash")

    async def run() -> None:
        async with _launcher(events) as launcher:
            await asyncio.wait_for(scenario(launcher, spec, events), 2 * START_S)

    try:
        asyncio.run(run())
    finally:
        leash.close()
    return events


@asynccontextmanager
async def _launcher(events: list[str]) -> AsyncIterator[ForkserverLauncher]:
    launcher = ForkserverLauncher(lambda event, **_fields: events.append(event))
    try:
        yield launcher
    finally:
        await launcher.close()


async def exit_of(process: LocalProcess) -> int | None:
    """Exit code of a process, once it is gone."""
    future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    process.on_exit(future.set_result)
    return await future


def test_a_killed_worker_is_noticed_with_its_signal(run_dir: Path) -> None:
    async def scenario(launcher: ForkserverLauncher, spec: WorkerSpec, _events: list[str]) -> None:
        process = await launcher.start(spec, START_S)
        assert psutil.pid_exists(process.pid)
        process.signal(signal.SIGKILL)
        assert await exit_of(process) == -signal.SIGKILL
        process.signal(signal.SIGKILL)  # nobody is there any more: nothing happens
        assert process.sample(unique_memory=False) is None

    play(run_dir, scenario)


def test_a_sample_tells_memory_descriptors_and_status(run_dir: Path) -> None:
    async def scenario(launcher: ForkserverLauncher, spec: WorkerSpec, _events: list[str]) -> None:
        process = await launcher.start(spec, START_S)
        sample = process.sample(unique_memory=True)
        assert sample is not None
        assert sample.uss_bytes is not None
        assert 0 < sample.uss_bytes < sample.rss_bytes
        assert sample.descriptors > 3
        process.kill_tree()
        await exit_of(process)

    play(run_dir, scenario)


def test_a_worker_survives_the_forkserver_and_its_exit_is_still_told(run_dir: Path) -> None:
    async def scenario(launcher: ForkserverLauncher, spec: WorkerSpec, _events: list[str]) -> None:
        process = await launcher.start(spec, START_S)
        before = launcher.forkserver_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        gone = asyncio.ensure_future(exit_of(process))
        await asyncio.sleep(0)  # let it register
        second = await launcher.start(spec.model_copy(update={"worker": "engine-ETH-USDT"}), START_S)
        assert launcher.forkserver_pid != before
        assert psutil.pid_exists(process.pid)
        assert not gone.done(), "the worker's pipe reads as dead, but its pidfd has not spoken"
        for each in (process, second):
            each.kill_tree()
        await gone
        assert await exit_of(second) == -signal.SIGKILL

    play(run_dir, scenario)


def test_a_stopped_forkserver_is_replaced(run_dir: Path) -> None:
    async def scenario(launcher: ForkserverLauncher, spec: WorkerSpec, events: list[str]) -> None:
        first = await launcher.start(spec, START_S)
        stopped = launcher.forkserver_pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(LaunchError, match="forkserver replaced"):
            await launcher.start(spec, 0.5)
        assert events == ["forkserver_replaced"]
        again = await launcher.start(spec, START_S)
        assert launcher.forkserver_pid != stopped
        for process in (first, again):
            process.kill_tree()
            await exit_of(process)

    play(run_dir, scenario)


def test_a_worker_that_is_dead_before_it_is_followed_still_tells_its_exit(run_dir: Path) -> None:
    async def scenario(launcher: ForkserverLauncher, spec: WorkerSpec, _events: list[str]) -> None:
        process = await launcher.start(spec.model_copy(update={"log_dir": Path("/proc/nowhere")}), START_S)
        assert await exit_of(process) not in (0, None)

    play(run_dir, scenario)


_INTERRUPTED = """
import os, signal, sys
import multiprocess.forkserver
from levibot.supervisor import forkserver

signal.signal(signal.SIGINT, signal.SIG_IGN)
forkserver.prestart()
os.kill(multiprocess.forkserver._forkserver._forkserver_pid, signal.SIGINT)
child = multiprocess.get_context("forkserver").Process(target=print, args=("forked",))
child.start()
child.join()
multiprocess.forkserver._forkserver._stop()
"""


def test_ctrl_c_ends_no_forkserver_amid_its_imports() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, timeout=START_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "forked\n", "")
