"""The last resort against workers that outlived their supervisor: kill who still holds a fence.

A worker dies with its supervisor by itself (see `workers.runtime`). What holds a fence after the grace
period is stuck, and a second worker of its name must not start before it is gone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from levibot.clock import boot_seconds
from workers.runtime import process_start_ticks

_POLL_SECONDS = 0.02
_KILL_SECONDS = 5.0
_HIGHEST_PID = 1 << 22  # the kernel's limit

Outcome = Literal["released", "killed", "unidentified", "stuck"]


@dataclass(frozen=True, slots=True)
class StaleHolder:
    """A fence that was held, and what became of it.

    `released`: free within the grace period. `killed`: its holder got SIGKILL, and the fence is free.
    `unidentified`: held, but by none that the file names, so no one was signalled. `stuck`: SIGKILL did
    not free it. The last two still hold: start no worker of this name.
    """

    worker: str
    outcome: Outcome
    pid: int | None

    @property
    def holds(self) -> bool:
        """Whether the fence is still held."""
        return self.outcome in ("unidentified", "stuck")


def clear_stale_holders(fence_dir: Path, grace_seconds: float) -> list[StaleHolder]:
    """Free the fences that processes of an earlier supervisor still hold. Blocks; call it before a spawn.

    Parameters
    ----------
    fence_dir
        Folder of the fence files, ``WORKER.lock``.
    grace_seconds
        How long all of them together may take to end by themselves.

    Returns
    -------
    list of StaleHolder
        One for each fence that was held at first.
    """
    held = {path for path in fence_dir.glob("*.lock") if is_held(path)}
    still_held = _wait_until_free(held, grace_seconds)
    signalled = {path: _kill_holder(path) for path in sorted(still_held)}
    killed = {path for path, pid in signalled.items() if pid is not None}
    stuck = _wait_until_free(killed, _KILL_SECONDS)

    def outcome(path: Path) -> Outcome:
        if path not in still_held:
            return "released"
        if path not in killed:
            return "unidentified" if is_held(path) else "released"
        return "stuck" if path in stuck else "killed"

    return [StaleHolder(path.stem, outcome(path), signalled.get(path)) for path in sorted(held)]


def is_held(path: Path) -> bool:
    """Whether any process holds the lock of this file."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _wait_until_free(paths: Iterable[Path], seconds: float) -> set[Path]:
    """Those of `paths` that are still held after at most `seconds`."""
    held = set(paths)
    deadline = boot_seconds() + seconds
    while held := {path for path in held if is_held(path)}:
        if boot_seconds() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return held


def _kill_holder(path: Path) -> int | None:
    """Kill the process that the fence file names, if it is that very process; its pid, or None."""
    try:
        pid, ticks = map(int, path.read_text(encoding="ascii").split())
    except ValueError:  # empty or torn, whatever its bytes
        return None
    if not 1 < pid <= _HIGHEST_PID or pid == os.getpid():
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        # The descriptor names one process for good, so what is true of the pid now is true of it.
        if process_start_ticks(pid) != ticks:
            return None
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError, PermissionError):
        return None
    finally:
        os.close(pidfd)
    return pid
