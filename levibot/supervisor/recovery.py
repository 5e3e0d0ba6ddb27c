"""When a dead worker is started again: one pure object, given times, that never reads a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from levibot.config import PolicyConfig


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next automatic restart: when, and whether the budget is spent until then."""

    at: float
    exhausted: bool


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Delays and budget of the automatic restarts of one kind of worker.

    The window before t is half open, ``(t - window, t]``: a restart leaves it exactly `window` seconds
    after it was made. So no such window ever holds more than `budget` restarts.

    Parameters
    ----------
    delays
        Seconds after the last restart, by the number of restarts in the window; the last repeats.
    budget
        Restarts in the window; 0: no end.
    window
        Seconds over which restarts are counted.
    jitter
        Largest random part added to a delay, as a fraction of it.
    """

    delays: tuple[float, ...]
    budget: int
    window: float
    jitter: float

    @classmethod
    def of(cls, config: PolicyConfig) -> RestartPolicy:
        """Policy with the numbers of one kind of worker."""
        return cls(config.restart_delays, config.restart_budget, config.restart_window, config.restart_jitter)

    def next_attempt(self, restarts: Sequence[float], now: float, jitter: float = 0.0) -> Attempt:
        """Earliest time of the next restart. Asking is not spending: record it when it is carried out.

        With n(t) restarts in the window before t, it is the earliest t ≥ `now` with n(t) < budget and
        t ≥ last restart + delays[min(n(t), len − 1)] · (1 + self.jitter · jitter).

        Parameters
        ----------
        restarts
            Times of the automatic restarts so far, in seconds of the same clock as `now`.
        now
            Current time in seconds.
        jitter
            Random number from 0 to 1, drawn once for each death.
        """
        made = sorted(restarts)
        last = made[-1] if made else -inf
        changes = sorted({moment + self.window for moment in made if moment + self.window > now})
        for start, end in zip([now, *changes], [*changes, inf], strict=True):
            count = self.count(made, start)
            due = max(start, last + self._delay(count, jitter))
            if self._affordable(count) and due < end:
                return Attempt(due, exhausted=not self._affordable(self.count(made, now)))
        raise AssertionError("the last window is empty, so a restart is due in it")

    def count(self, restarts: Sequence[float], now: float) -> int:
        """Number of restarts in the window before `now`."""
        return sum(moment + self.window > now for moment in restarts)

    def budget_left(self, restarts: Sequence[float], now: float) -> int | None:
        """Restarts that are left in the window; None without a budget."""
        return max(0, self.budget - self.count(restarts, now)) if self.budget else None

    def _affordable(self, count: int) -> bool:
        return not self.budget or count < self.budget

    def _delay(self, count: int, jitter: float) -> float:
        return self.delays[min(count, len(self.delays) - 1)] * (1 + self.jitter * jitter)
