"""Is the clock right?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from levibot.doctor.finding import Finding, Patient
from levibot.supervisor.machine import KernelClock, read_kernel_clock

_MOST_ERROR = 1.0  # seconds that the kernel thinks it may be off


def check_clock(patient: Patient) -> Iterator[Finding]:
    """Whether the clock is kept right, and whether it agrees with the exchange's."""
    try:
        yield judge_clock(read_kernel_clock(), patient.config.alerts.clock_skew)
    except OSError as error:
        yield Finding("clock", "warn", f"the kernel does not tell ({error.strerror})", "look at `timedatectl`")
    if patient.daemon and not patient.config.feed.is_artificial:
        yield judge_market(patient.daemon.get("market_ms"), time.time() * 1000, patient.config.alerts.clock_skew)


def judge_clock(clock: KernelClock, skew: float) -> Finding:
    """Judge the kernel's clock by the most seconds that it may be off."""
    remedy = "switch time synchronisation on: `timedatectl set-ntp true`, or install chrony"
    if abs(clock.offset) > skew:
        return Finding("clock", "fail", f"{clock.offset:+.3f} s off, more than alerts.clock_skew", remedy)
    if not clock.synchronised:
        return Finding("clock", "warn", "not synchronised; in a container the host may do it all the same", remedy)
    if clock.most_error > _MOST_ERROR:
        return Finding("clock", "warn", f"synchronised, but perhaps {clock.most_error:.1f} s off", remedy)
    return Finding("clock", "ok", f"synchronised, {clock.offset * 1000:+.2f} ms off")


def judge_market(market_ms: float | None, now_ms: float, skew: float) -> Finding:
    """Judge the newest time that the exchange gave by this machine's."""
    if market_ms is None:
        return Finding("market time", "warn", "no market data yet", "see `levibotctl logs feed`")
    ahead = (market_ms - now_ms) / 1000
    if ahead > skew:
        return Finding(
            "market time", "fail", f"the exchange is {ahead:.1f} s ahead of this clock", "set this machine's clock"
        )
    return Finding("market time", "ok", f"newest event {-ahead:.1f} s ago")
