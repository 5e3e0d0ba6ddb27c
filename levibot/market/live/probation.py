"""A market that goes stale again and again is not live for the moments between."""

from __future__ import annotations

_MEMORY_NS = 60_000_000_000  # how long ago a recovery may lie to have been none
_WAIT = 1.25  # of the silence that is borne: in that time a stream that is still dead is found out


class Probation:
    """How long a market must be sound before it counts as live again.

    The first time that is at once. After a relapse it takes as long as a dead stream needs to be noticed:
    a renewed subscription brings a fresh snapshot, and may be silent ever after.

    Parameters
    ----------
    stale_after_ns
        Silence of the quotes that is borne.
    """

    def __init__(self, stale_after_ns: int) -> None:
        self._wait_ns = int(stale_after_ns * _WAIT)
        self._recovered_ns: int | None = None
        self._relapsed = False
        self._sound_ns: int | None = None

    def fail(self, now_ns: int) -> None:
        """It has gone stale."""
        self._relapsed = self._recovered_ns is not None and now_ns - self._recovered_ns < _MEMORY_NS
        self._sound_ns = None

    def interrupt(self) -> None:
        """It is stale still."""
        self._sound_ns = None

    def passes(self, now_ns: int) -> bool:
        """Nothing is wrong now; whether it counts as live."""
        if self._sound_ns is None:
            self._sound_ns = now_ns
        if self._relapsed and now_ns - self._sound_ns < self._wait_ns:
            return False
        self._recovered_ns = now_ns
        return True
