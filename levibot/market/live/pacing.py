"""At most so many messages a second: the first at once, of those between the newest, and the last one always."""

from __future__ import annotations

import math


class Pace:
    """When the next message may go out.

    Parameters
    ----------
    most_hz
        Messages a second.
    """

    def __init__(self, most_hz: float) -> None:
        self._step_ns = math.ceil(1e9 / most_hz)
        self._next_ns = 0
        self.waiting = False  # something is to be sent

    def due(self, now_ns: int) -> bool:
        """Whether what is waiting may be sent now; then it counts as sent."""
        if not self.waiting or now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + self._step_ns
        self.waiting = False
        return True
