"""When to try again: each line and each symbol by itself, and how often all of them together may dial."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from levibot.clock import boot_ns

FIRST_S, LONGEST_S = 0.5, 30.0
HEALTHY_S = 60.0  # after which what went before is forgotten

# Dials of one process. The strictest known rule is Kraken's, 150 in ten minutes: these are at most 130. Binance
# allows 300 in five minutes, of which they are 70.
DIAL_BURST = 10
DIAL_EVERY_S = 5.0

_NS = 1_000_000_000


class Backoff:
    """Pauses between attempts: 0.5 s, doubled each time, 30 s at most, each shortened at random by up to half.

    Parameters
    ----------
    now_ns
        Clock for what lasts.
    chance
        Random numbers from 0 to 1, so that what failed together is not tried again together.
    """

    def __init__(self, now_ns: Callable[[], int] = boot_ns, chance: Callable[[], float] = random.random) -> None:
        self._now_ns = now_ns
        self._chance = chance
        self._failures = 0
        self._well_since_ns: int | None = None

    @property
    def failures(self) -> int:
        """How many there were, one after the other."""
        return self._failures

    def copy(self) -> Backoff:
        """Another one that has come as far."""
        other = Backoff(self._now_ns, self._chance)
        other._failures = self._failures
        return other

    def failed(self) -> float:
        """Seconds until the next attempt."""
        if self._well_since_ns is not None and self._now_ns() - self._well_since_ns >= HEALTHY_S * _NS:
            self._failures = 0
        self._well_since_ns = None
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return pause_s * (1 - self._chance() / 2)

    def succeeded(self) -> None:
        """It works, from now on."""
        if self._well_since_ns is None:
            self._well_since_ns = self._now_ns()


class DialBudget:
    """A token bucket for dials, first come, first served.

    However often connections are lost, an exchange that counts dials by address must not see more than it
    allows: a ban would take the REST interface and the broker with it.

    Parameters
    ----------
    burst
        Dials that may go at once.
    every_s
        Seconds until one of them comes back.
    now_ns
        Clock for what lasts.
    """

    def __init__(
        self,
        burst: int = DIAL_BURST,
        every_s: float = DIAL_EVERY_S,
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        self._burst = burst
        self._every_s = every_s
        self._now_ns = now_ns
        self._left = float(burst)
        self._at_ns = now_ns()
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait until a dial is allowed."""
        async with self._turn:
            while (wait_s := self.wait_s()) > 0:
                await asyncio.sleep(wait_s)
            self._left -= 1

    def wait_s(self) -> float:
        """Seconds until a dial is allowed; 0: now."""
        now_ns = self._now_ns()
        self._left = min(self._burst, self._left + (now_ns - self._at_ns) / _NS / self._every_s)
        self._at_ns = now_ns
        missing = 1 - self._left
        return 0.0 if missing <= 1e-9 else missing * self._every_s
