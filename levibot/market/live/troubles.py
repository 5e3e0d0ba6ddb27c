"""The newest failure in the background, as long as it may still be so."""

from __future__ import annotations

from collections.abc import Callable

from levibot.clock import boot_ns

_LASTS_NS = 35_000_000_000  # whatever still fails has been tried again by then


class Troubles:
    """One text, which ends by itself.

    Parameters
    ----------
    now_ns
        Clock for what lasts.
    """

    def __init__(self, now_ns: Callable[[], int] = boot_ns) -> None:
        self._now_ns = now_ns
        self._text = ""
        self._at_ns = 0

    def note(self, text: str) -> None:
        """It failed."""
        self._text, self._at_ns = text, self._now_ns()

    def end(self) -> None:
        """Things work again."""
        self._text = ""

    @property
    def newest(self) -> str:
        """What may still be wrong; empty: nothing is known to be."""
        return self._text if self._now_ns() - self._at_ns < _LASTS_NS else ""
