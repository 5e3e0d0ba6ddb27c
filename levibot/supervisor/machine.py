"""What the kernel knows of this machine's clock and disk."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_STA_UNSYNC = 0x0040
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux; only read, so ``modes`` stays 0."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_byte * 176),  # fields that are not looked at, and room for newer ones
    )


@dataclass(frozen=True, slots=True)
class ClockState:
    """The wall clock, as the kernel judges it.

    Attributes
    ----------
    synchronised
        Whether a daemon disciplines it. If none does, it may be right all the same: a virtual machine's
        clock may follow its host's.
    error
        Estimated error in seconds; of meaning only while it is disciplined.
    """

    synchronised: bool
    error: float


def clock_state() -> ClockState | None:
    """State of the wall clock by adjtimex(2); None if the kernel does not tell."""
    timex = _Timex()
    if _LIBC.adjtimex(ctypes.byref(timex)) < 0:
        return None
    return ClockState(not timex.status & _STA_UNSYNC, timex.esterror / 1e6)


def free_bytes(folder: Path) -> int | None:
    """Bytes below `folder` that this user may still write; None if it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
