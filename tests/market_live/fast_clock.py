"""A wall clock that runs as fast as the market of a loopback exchange.

Quickened are the wall clock of the product, the one by which it follows the exchange's time, and the one by which
ccxt bounds what it asks for. Sockets, timers, pings and CLOCK_BOOTTIME everywhere else, hence all ages and
deadlines, keep the machine's time. So minutes of the market pass in seconds, and a fault lasts as long as ever.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from levibot import clock

VARIABLE = "LEVIBOT_TEST_PACE"
_HEAD = Path(__file__).parents[2]
_PRELOAD = Path(__file__).with_name("preload")


class Pace(NamedTuple):
    """Which time it is, and how fast it passes."""

    born_ns: int  # CLOCK_MONOTONIC at
    origin_ms: int  # this Unix time
    speed: float

    def wall_ms(self) -> int:
        return int(self.origin_ms + self.boot_ns() / 1e6)

    def boot_ns(self) -> int:
        """Nanoseconds of the market since then."""
        return int((time.monotonic_ns() - self.born_ns) * self.speed)


def quicken(pace: Pace) -> None:
    """Give this process that clock; before anything else of the product is imported, for it is taken by name."""
    slow = clock.wall_ms
    taken = [name for name, module in sys.modules.items() if getattr(module, "wall_ms", None) is slow]
    assert taken == ["levibot.clock"], f"{taken} have the slow clock already"
    clock.wall_ms = pace.wall_ms
    from levibot.exchange import server_clock

    server_clock.boot_ns = pace.boot_ns


def environment(pace: Pace) -> dict[str, str]:
    """Variables by which all processes of a daemon start with that clock; ccxt's is left alone."""
    path = os.pathsep.join((str(_PRELOAD), str(_HEAD)))
    return {VARIABLE: f"{pace.born_ns} {pace.origin_ms} {pace.speed}", "PYTHONPATH": path}


def run_feed(payload: str, exchange_id: str, pace: Pace) -> None:
    """Run a feed, as `workers.entry.run` does, by that clock; to be the target of a spawned process."""
    quicken(pace)
    import ccxt.pro

    getattr(ccxt.pro, exchange_id).milliseconds = staticmethod(pace.wall_ms)
    from workers.entry import run

    run(payload)
