"""Whether the exchange answers at all: while it does not, one request at a time finds out for all."""

from __future__ import annotations

from collections.abc import Callable

from levibot.clock import boot_ns

_IN_A_ROW = 3  # requests without any answer, after which none is expected
_FIRST_S, _LONGEST_S = 1.0, 5.0  # between two attempts then: one light request for all
_NS = 1_000_000_000


class Reach:
    """What became of the latest requests.

    Parameters
    ----------
    now_ns
        Clock for what lasts.
    """

    def __init__(self, now_ns: Callable[[], int] = boot_ns) -> None:
        self.cause = ""  # why it does not answer
        self.returns = 0  # times that it answered again
        self._now_ns = now_ns
        self._unanswered = 0
        self._pause_ns = self._next_ns = 0

    @property
    def is_lost(self) -> bool:
        """Whether no answer is expected."""
        return self._unanswered >= _IN_A_ROW

    @property
    def is_due(self) -> bool:
        """Whether to find out now."""
        return self._now_ns() >= self._next_ns

    def unanswered(self, cause: str) -> None:
        """A request got no answer."""
        self._unanswered += 1
        self.cause = cause
        now_ns = self._now_ns()
        if now_ns >= self._next_ns:  # what was under way when the pause began makes it no longer
            self._pause_ns = min(int(_LONGEST_S * _NS), 2 * self._pause_ns or int(_FIRST_S * _NS))
            self._next_ns = now_ns + self._pause_ns

    def answered(self) -> None:
        """One was answered, if only by a refusal."""
        self.returns += self.is_lost
        self.cause = ""
        self._unanswered = self._pause_ns = self._next_ns = 0
