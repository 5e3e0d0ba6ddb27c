"""What the kernel knows of this machine's clock and disk."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import NamedTuple

_STA_UNSYNC, _STA_NANO = 0x0040, 0x2000  # linux/timex.h


class KernelClock(NamedTuple):
    """The wall clock, as the kernel judges it; see adjtimex(2).

    Attributes
    ----------
    synchronised
        Whether a daemon disciplines it. If none does, it may be right all the same: a virtual machine's
        clock may follow its host's.
    offset
        Seconds that are being corrected.
    most_error, error
        Most that it may be off, and the estimate, in seconds; of meaning only while it is disciplined.
    """

    synchronised: bool
    offset: float
    most_error: float
    error: float = 0.0


def read_kernel_clock() -> KernelClock:
    """Ask the kernel; changes nothing.

    Raises
    ------
    OSError
        If it refuses, as under a strict sandbox.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    timex = (ctypes.c_long * 64)()  # struct timex, larger than it is; modes = 0: read only
    if libc.adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    _, offset, _, most_error, error, status = timex[:6]
    status &= 0xFFFFFFFF  # an int, followed by padding
    unit = 1e9 if status & _STA_NANO else 1e6
    return KernelClock(not status & _STA_UNSYNC, offset / unit, most_error / 1e6, error / 1e6)


def disciplined_error() -> float | None:
    """Estimated error of the wall clock in seconds; None if nothing disciplines it, or nobody tells."""
    try:
        clock = read_kernel_clock()
    except OSError:
        return None
    return clock.error if clock.synchronised else None


def free_bytes(folder: Path) -> int | None:
    """Bytes below `folder` that this user may still write; None if it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
