"""One child process, and the launcher that makes it.

Nothing above the `Launcher` assumes a local pid: a launcher for other hosts can take this one's place.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import multiprocess
import multiprocess.forkserver
import multiprocess.process
import multiprocess.resource_tracker
import psutil

from levibot.errors import LaunchError
from levibot.spec import WorkerSpec
from levibot.supervisor import forkserver
from workers import entry
from workers.runtime import STACK_SIGNAL, process_start_ticks

_EXIT_CODE_WAIT = 2.0  # seconds from the death of a process until its exit code must be known


@dataclass(frozen=True)
class Sample:
    """What psutil says of a process at one moment."""

    rss_bytes: int
    cpu_percent: float  # of one core, since the sample before
    descriptors: int
    status: str  # psutil's word: running, sleeping, stopped, zombie…
    uss_bytes: int | None = None  # only where it was asked for


class Process(Protocol):
    """A running worker process."""

    pid: int
    start_ticks: int

    def on_exit(self, callback: Callable[[int | None], None]) -> None:
        """Have `callback` called once with the exit code (None if it cannot be known)."""

    def signal(self, signum: int) -> None:
        """Send a signal; nothing happens if the process is gone, and never to another with its pid."""

    def kill_tree(self) -> None:
        """SIGKILL the process and all that descends from it."""

    def dump_stack(self) -> None:
        """Ask for a stack dump in the worker's ``.stack`` file."""

    def sample(self, *, unique_memory: bool) -> Sample | None:
        """Measure it; None if it is gone."""


class Launcher(Protocol):
    """Makes worker processes."""

    async def start(self, spec: WorkerSpec, timeout: float) -> Process:
        """Start a worker; LaunchError if that takes longer than `timeout` seconds."""

    def interrupt(self) -> None:
        """Let the start that is under way fail now."""

    async def close(self) -> None:
        """Free what the launcher holds; all its processes have ended."""


class LocalProcess:
    """A child of the local forkserver, followed through a pidfd.

    Parameters
    ----------
    loop
        The supervisor's loop.
    child
        The started process object; kept, because it holds the pipe that the worker's leash hangs on.
    after_death
        Called once, before the exit is told: clears what the worker left behind.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, child: Any, after_death: Callable[[], None]) -> None:
        self.pid: int = child.pid
        self._loop = loop
        self._child = child
        self._after_death = after_death
        self._callback: Callable[[int | None], None] | None = None
        self._exit: asyncio.Task[None] | None = None
        self._descendants: list[psutil.Process] = []
        self._pidfd = -1
        self._psutil: psutil.Process | None = None
        self.start_ticks = 0
        # Without an exit code the pid is still that of our child, and the pidfd holds on to it.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, psutil.NoSuchProcess):
            pidfd = os.pidfd_open(self.pid)
            if child.exitcode is None:
                self._pidfd = pidfd
                self.start_ticks = process_start_ticks(self.pid)
                self._psutil = psutil.Process(self.pid)
            else:
                os.close(pidfd)

    def on_exit(self, callback: Callable[[int | None], None]) -> None:
        """See `Process`."""
        self._callback = callback
        if self._pidfd < 0:  # it has died already
            self._exit = self._loop.create_task(self._finish())
        else:
            self._loop.add_reader(self._pidfd, self._died)

    def signal(self, signum: int) -> None:
        """See `Process`."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def kill_tree(self) -> None:
        """See `Process`. The tree is read first: a child in a session of its own escapes a group kill."""
        if self._psutil is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._descendants = self._psutil.children(recursive=True)
        self.signal(signal.SIGKILL)
        for descendant in self._descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()  # psutil checks the start time before it signals

    def dump_stack(self) -> None:
        """See `Process`."""
        self.signal(STACK_SIGNAL)

    def sample(self, *, unique_memory: bool) -> Sample | None:
        """See `Process`."""
        if self._psutil is None:
            return None
        try:
            with self._psutil.oneshot():
                return Sample(
                    rss_bytes=self._psutil.memory_info().rss,
                    cpu_percent=self._psutil.cpu_percent(None),
                    descriptors=self._psutil.num_fds(),
                    status=self._psutil.status(),
                    uss_bytes=self._psutil.memory_full_info().uss if unique_memory else None,
                )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._exit = self._loop.create_task(self._finish())

    async def _finish(self) -> None:
        deadline = self._loop.time() + _EXIT_CODE_WAIT
        while (code := self._exit_code()) is None and self._loop.time() < deadline:
            await asyncio.sleep(0.001)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        with contextlib.suppress(ValueError):  # still unknown to the forkserver: its pipes close with the object
            self._child.close()
        self._after_death()
        if self._callback is not None:
            self._callback(code)

    def _exit_code(self) -> int | None:
        """Exit code from the forkserver, or from the kernel if the forkserver died before and we inherited."""
        reaped = None
        if self._pidfd >= 0:
            with contextlib.suppress(ChildProcessError):  # it is the forkserver's child
                reaped = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        if reaped is not None:
            return -reaped.si_status if reaped.si_code != os.CLD_EXITED else reaped.si_status
        code: int | None = self._child.exitcode
        return code


class ForkserverLauncher:
    """Starts workers from a forkserver that has the light modules loaded and frozen.

    Parameters
    ----------
    on_event
        Called with an event's name and fields: what is to be logged.
    """

    def __init__(self, on_event: Callable[..., None]) -> None:
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._context = multiprocess.get_context("forkserver")
        forkserver.prestart()
        # One thread and one start: the forkserver serves one request at a time anyway, and each start is
        # to have its own time. If it is stuck, one start fails and not all that wait.
        self._one_start = asyncio.Lock()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="launcher")
        self._live: set[int] = set()
        self._starting: Any = None
        self._given_up: Any = None
        self._companions: set[int] = set()

    def add_companion(self, pid: int) -> None:
        """Name a direct child of the supervisor that is no worker and must not be swept."""
        self._companions.add(pid)

    def forget_companion(self, pid: int) -> None:
        """Undo `add_companion`, when it has ended."""
        self._companions.discard(pid)

    async def start_companion(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Run a command in a process group of its own that is not swept; what it says comes through one pipe.

        Raises
        ------
        LaunchError
            If it cannot be started.
        """
        try:
            return await self._loop.run_in_executor(self._thread, self._start_companion, command)
        except OSError as error:
            raise LaunchError(f"{command[0]}: cannot be started: {error}; see `levibotctl doctor`") from error

    def _start_companion(self, command: Sequence[str]) -> subprocess.Popen[str]:
        # In the thread that sweeps, so that it is known before anybody can take it for an orphan.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self.add_companion(process.pid)
        return process

    async def start(self, spec: WorkerSpec, timeout: float) -> LocalProcess:
        """See `Launcher`."""
        child = self._context.Process(
            target=entry.run, args=(spec.model_dump_json(),), name=f"{spec.worker}.{spec.incarnation}"
        )
        async with self._one_start:
            self._starting = child
            await self._start_in_thread(child, spec.worker, timeout)
        pid: int = child.pid
        try:
            return LocalProcess(self._loop, child, lambda: self._after_death(pid))
        except OSError as error:
            child.kill()  # no descriptor is left to follow it by
            self._live.discard(pid)
            raise LaunchError(f"{spec.worker}: process {pid} cannot be followed: {error}") from error

    def interrupt(self) -> None:
        """See `Launcher`. Only the forkserver's death ends a request that it may still read."""
        self._given_up = self._starting
        self._on_event("forkserver_replaced", pid=self.forkserver_pid)
        self._kill_forkserver()

    async def close(self) -> None:
        """See `Launcher`."""
        self._given_up = self._starting
        self._kill_forkserver()
        self._thread.shutdown(wait=True, cancel_futures=True)
        # Reap both: an exec would hand them on as orphans.
        multiprocess.forkserver._forkserver._stop()
        multiprocess.resource_tracker._resource_tracker._stop()

    @property
    def forkserver_pid(self) -> int | None:
        """Pid of the forkserver, None before the first start."""
        pid: int | None = multiprocess.forkserver._forkserver._forkserver_pid
        return pid

    def _await_forkserver_death(self) -> None:
        """Wait without reaping: the package looks itself whether its forkserver has ended."""
        if self.forkserver_pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.forkserver_pid)
            try:
                death = select.poll()  # select takes no descriptor above 1023
                death.register(pidfd, select.POLLIN)
                death.poll(_EXIT_CODE_WAIT * 1000)
            finally:
                os.close(pidfd)

    def _kill_forkserver(self) -> None:
        pid = self.forkserver_pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _start_in_thread(self, child: Any, worker: str, timeout: float) -> None:
        future = self._loop.run_in_executor(self._thread, self._start_child, child)
        in_time = bool((await asyncio.wait([future], timeout=timeout))[0])
        if not in_time:
            self.interrupt()
        try:
            await future  # done after all, perhaps
        except (OSError, EOFError) as error:
            if in_time:
                raise LaunchError(f"{worker}: the forkserver failed: {error!r}") from error
            raise LaunchError(f"{worker}: no process after {timeout:g} s; forkserver replaced") from error

    def _start_child(self, child: Any) -> None:
        with forkserver.interrupts_held():  # it starts the forkserver anew, if that has died
            self._start_or_start_again(child)
        # The package keeps a set of all children, polls each of them at every start, and joins them at
        # exit. Here the pidfd does that, and two readers of one exit code would lose it.
        multiprocess.process._children.discard(child)
        self._live.add(child.pid)

    def _start_or_start_again(self, child: Any) -> None:
        try:
            child.start()
        except (ConnectionError, EOFError):
            # The forkserver died under our hands, perhaps with the fork already made: such a child is
            # ours by now, and nobody knows it. The next forkserver is made by the next try.
            self._await_forkserver_death()
            self._sweep(left_by=None)
            if child is self._given_up:
                raise
            child.start()

    def _after_death(self, pid: int) -> None:
        self._live.discard(pid)
        with contextlib.suppress(RuntimeError):  # the thread is shut down with the daemon
            self._thread.submit(self._sweep, pid)

    def _sweep(self, left_by: int | None) -> None:
        """Kill what a dead worker left: as subreaper the supervisor is now the parent of its orphans.

        Runs in the launcher's thread, so that no process just being started is taken for an orphan.
        """
        while strays := self._strays():
            for child in strays:  # whose own children are ours in the next round
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, 0)
                report = functools.partial(self._on_event, "orphan_killed", pid=child.pid, left_by=left_by)
                self._loop.call_soon_threadsafe(report)

    def _strays(self) -> list[psutil.Process]:
        tracker = multiprocess.resource_tracker._resource_tracker._pid
        known = {*self._live, *self._companions, self.forkserver_pid, tracker}
        return [child for child in psutil.Process().children() if child.pid not in known]
