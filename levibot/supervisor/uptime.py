"""How long a worker was ready, and how long it was not although it was wanted. Pure."""

from __future__ import annotations


class Uptime:
    """Adds up the time between the transitions that the supervisor itself sees, so no poll can miss a gap.

    Counting begins when the worker is first ready: before, it has nothing that it could lose. Time in which
    it is not wanted counts for neither side.

    Attributes
    ----------
    ready_seconds
        It ran and waited for nothing.
    down_seconds
        It was wanted and not so: dead, starting, or waiting for somebody.
    """

    def __init__(self) -> None:
        self.ready_seconds = 0.0
        self.down_seconds = 0.0
        self._noted: float | None = None
        self._ready = self._down = False

    def note(self, now: float, *, ready: bool, wanted: bool) -> None:
        """Take the state that holds from now on; call it after each transition, and before reading.

        Parameters
        ----------
        now
            CLOCK_BOOTTIME in seconds.
        ready
            The worker is ready.
        wanted
            It ought to be.
        """
        elapsed = now - self._noted if self._noted is not None else 0.0
        if self._ready:
            self.ready_seconds += elapsed
        elif self._down:
            self.down_seconds += elapsed
        if ready or self._noted is not None:
            self._noted = now
        self._ready, self._down = ready, wanted and not ready
