"""One supervisor for one data directory."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from levibot.errors import AlreadyRunningError, StopError
from workers.runtime import process_start_ticks


class Holder(msgspec.Struct, frozen=True):
    """What the lock file says of the supervisor that holds it."""

    pid: int
    start_ticks: int
    started_at: str  # UTC, ISO 8601


class SupervisorLock:
    """A held lock. It ends with the process that holds it, however that ends.

    Parameters
    ----------
    fd
        Descriptor of the lock file, on which the lock is held.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Give the lock up; harmless if it was given up before."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def acquire(path: Path) -> SupervisorLock:
    """Take the lock of a data directory.

    The kernel's lock decides, never the text in the file: what a dead supervisor left does not matter.

    Parameters
    ----------
    path
        The lock file; its folder is created if need be.

    Raises
    ------
    AlreadyRunningError
        If another process holds it; the text says which, and since when.
    StopError
        If the folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StopError(
            f"{path.parent}: cannot be used ({error.strerror}); correct supervisor.data_dir, or who owns it"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = read_holder(path)
        os.close(fd)
        who = f"pid {holder.pid}, started at {holder.started_at}," if holder else "another process"
        raise AlreadyRunningError(
            f"{path.parent}: {who} holds this data directory; stop it with `levibotctl stop`, "
            "or give this daemon its own [supervisor] data_dir"
        ) from None
    ours = Holder(os.getpid(), process_start_ticks(os.getpid()), datetime.now(UTC).isoformat(timespec="seconds"))
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(ours) + b"\n", 0)
    return SupervisorLock(fd)


def read_holder(path: Path) -> Holder | None:
    """The live supervisor that the lock file names, None if it names none that lives.

    The process is checked by its start time, so a reused pid is no supervisor.
    """
    try:
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
        alive = process_start_ticks(holder.pid) == holder.start_ticks
    except (FileNotFoundError, ProcessLookupError, msgspec.DecodeError):
        return None
    return holder if alive else None
