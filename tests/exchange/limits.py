"""Request weights: a budget per window; who exceeds it gets 429, who goes on gets 418."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    status: int
    retry_after_s: int


class WeightLimit:
    """One budget for all clients; they share the address 127.0.0.1.

    Parameters
    ----------
    limit, window_s
        Weight in each window, which starts on a full multiple of its length as on Binance.
    ban_after
        Requests refused with 429 in a row until the answer is 418.
    """

    def __init__(self, limit: int, window_s: int = 60, ban_after: int = 10, ban_s: int = 120) -> None:
        self.limit = limit
        self.window_s = window_s
        self.used = 0
        self._ban_after = ban_after
        self._ban_s = ban_s
        self._window = 0
        self._refused = 0
        self._banned_until = 0.0

    def spend(self, weight: int) -> Verdict | None:
        """Take a request's weight; a verdict means refusal."""
        now = time.time()
        if now < self._banned_until:
            return Verdict(418, int(self._banned_until - now) + 1)
        window = int(now // self.window_s)
        if window != self._window:
            self._window, self.used, self._refused = window, 0, 0
        self.used += weight
        if self.used <= self.limit:
            return None
        self._refused += 1
        if self._refused > self._ban_after:
            self._banned_until = now + self._ban_s
            return Verdict(418, self._ban_s)
        return Verdict(429, int((window + 1) * self.window_s - now) + 1)
