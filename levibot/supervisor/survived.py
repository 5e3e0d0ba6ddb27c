"""Errors that the supervisor survived: counted by place, and logged without filling the disk."""

from __future__ import annotations

from levibot.clock import boot_seconds
from levibot.observability.logging import Logger

_INTERVAL = 1.0  # seconds between two lines about one place


class SurvivedErrors:
    """Counts and logs what went wrong and ended nothing.

    Parameters
    ----------
    log
        The supervisor's.

    Attributes
    ----------
    counts
        How many, by place.
    """

    def __init__(self, log: Logger) -> None:
        self.counts: dict[str, int] = {}
        self._log = log
        self._told_at: dict[str, float] = {}

    def count(self, where: str, error: Exception) -> None:
        """Count an error, and log it: of each place one a second, or a flood fills the disk."""
        self.counts[where] = self.counts.get(where, 0) + 1
        now = boot_seconds()
        if now - self._told_at.get(where, 0.0) >= _INTERVAL:
            self._told_at[where] = now
            self._log.error("error_survived", where=where, count=self.counts[where], exc_info=error)
