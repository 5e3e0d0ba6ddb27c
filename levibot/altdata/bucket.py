"""A rate limit of our own: so many requests a minute, and a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from levibot.clock import boot_seconds


class TokenBucket:
    """Tokens that come back evenly; who takes one waits until there is one, in the order of asking.

    Parameters
    ----------
    per_minute
        Tokens that come back in a minute.
    burst
        Most tokens that it holds; it begins full.
    now
        Clock, in seconds.
    """

    def __init__(self, per_minute: float, burst: int = 1, now: Callable[[], float] = boot_seconds) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._now = now
        self._tokens = float(burst)
        self._at = now()
        self._turn = asyncio.Lock()

    async def take(self) -> bool:
        """Take one token, waiting for it if need be; tell whether it had to be waited for."""
        async with self._turn:
            waited = False
            while (missing_s := self._missing_s()) > 0:
                waited = True
                await asyncio.sleep(missing_s)
            self._tokens -= 1
            return waited

    def _missing_s(self) -> float:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        return max(0.0, (1 - self._tokens) / self._per_second)
