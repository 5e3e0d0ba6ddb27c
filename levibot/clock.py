"""The two clocks: one for ages and budgets, one for stamps that people and exchanges read."""

from __future__ import annotations

import time
from pathlib import Path


def boot_ns() -> int:
    """Nanoseconds since boot, suspend included.

    CLOCK_BOOTTIME goes on while the machine sleeps, so an age taken from it is true after a resume,
    where CLOCK_MONOTONIC would call stale data fresh.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_seconds() -> float:
    """Seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """Unix time in milliseconds, UTC; for stamps, never for ages."""
    return time.time_ns() // 1_000_000


def boot_id() -> str:
    """Identity of this boot, so that boot times of different boots are never compared."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
