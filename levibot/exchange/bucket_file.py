"""What is left of a share of the rate limit, kept over a restart: who dies and starts again has no more of it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from levibot.clock import boot_id
from levibot.durable import write_error
from levibot.errors import LockedStoreError

_BOOT = struct.Struct("<36s")
_STATE = struct.Struct("<dq")


class BucketState(NamedTuple):
    """One bucket."""

    tokens: float
    at_ns: int  # CLOCK_BOOTTIME


class BucketFile:
    """A few bytes that one process at a time writes with each request, and never waits for.

    They need not survive the machine: after a reboot every bucket is full again.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    boot
        Identity of this boot.

    Raises
    ------
    LockedStoreError
        If another process uses this share.
    DataStoreError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, boot: Callable[[], str] = boot_id) -> None:
        self._boot = _BOOT.pack(boot().encode())
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise LockedStoreError(
                path, "another process uses this share of the rate limit; end it first"
            ) from error

    def load(self, count: int) -> list[BucketState] | None:
        """The state of `count` buckets; None if none was stored since the machine has started."""
        stored = os.pread(self._fd, _BOOT.size + count * _STATE.size + 1, 0)
        if not stored.startswith(self._boot) or len(stored) != _BOOT.size + count * _STATE.size:
            return None
        return [BucketState(*state) for state in _STATE.iter_unpack(stored[_BOOT.size :])]

    def save(self, states: Sequence[BucketState]) -> None:
        """Store the state of all buckets."""
        with suppress(
            OSError
        ):  # a full disk must not stop trading: the limit is kept by this process all the same
            os.pwrite(self._fd, self._boot + b"".join(_STATE.pack(*state) for state in states), 0)

    def close(self) -> None:
        """Let another process use the share."""
        os.close(self._fd)
