"""Many engines that die at once have one cause. Pure."""

from __future__ import annotations

from collections import deque

SECONDS = 5.0
_ENGINES = 3  # that must have died within that time
_LEAST = 2  # of a daemon with fewer engines, all; but one that dies again and again is no storm


class DeathWindow:
    """Which engines have died of late."""

    def __init__(self) -> None:
        self._deaths: deque[tuple[float, str]] = deque()

    def note(self, engine: str, now: float) -> None:
        """An engine died at `now`, in seconds of CLOCK_BOOTTIME."""
        self._deaths.append((now, engine))

    def engines(self, now: float) -> int:
        """How many different engines died within `SECONDS` before `now`."""
        while self._deaths and self._deaths[0][0] <= now - SECONDS:
            self._deaths.popleft()
        return len({engine for _, engine in self._deaths})

    def storm(self, engines: int, now: float) -> bool:
        """Whether so many of all `engines` have died that there must be a common cause."""
        return self.engines(now) >= max(_LEAST, min(_ENGINES, engines))
