"""How fast a channel is used: retries that back off, and no flood. Pure; times are seconds of one clock."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_RETRY, LONGEST_RETRY = 1.0, 600.0
BURST, PER_MINUTE = 10.0, 10.0  # messages


def retry_delay(failures: int, jitter: float) -> float:
    """Seconds until the next attempt after so many failures in a row.

    Parameters
    ----------
    failures
        At least 1.
    jitter
        Random number from 0 to 1: the delay is between half and all of the doubling one, so that many who
        failed together do not come back together.
    """
    full = min(FIRST_RETRY * 2.0 ** min(failures - 1, 30), LONGEST_RETRY)
    return full * (0.5 + 0.5 * jitter)


@dataclass
class Pace:
    """Whether a channel may be used, and for how many messages."""

    failures: int = 0  # in a row
    failing_since: float | None = None
    blocked_until: float = 0.0
    _tokens: float = field(default=BURST, repr=False)
    _at: float | None = field(default=None, repr=False)

    def allowed(self, now: float) -> int:
        """Messages that may be sent now."""
        if self._at is not None:
            self._tokens = min(BURST, self._tokens + (now - self._at) * PER_MINUTE / 60)
        self._at = now
        return 0 if now < self.blocked_until else int(self._tokens)

    def spend(self) -> None:
        """A message goes out."""
        self._tokens -= 1

    def succeeded(self) -> None:
        """It arrived."""
        self.failures, self.failing_since, self.blocked_until = 0, None, 0.0

    def failed(self, now: float, jitter: float) -> None:
        """It did not."""
        self.failures += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.blocked_until = now + retry_delay(self.failures, jitter)
