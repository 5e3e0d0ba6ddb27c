"""What is wrong is told once for each cause, not each time that it is met."""

from __future__ import annotations

import re
from collections.abc import Callable

from levibot.clock import boot_ns

_AGAIN_NS = 600_000_000_000  # after which the same cause is worth a line again
_FLUTTER_NS = 60_000_000_000  # what ends and begins again sooner is the same trouble still
_MOST = 1_000  # causes that are remembered
_NUMBER = re.compile(r"\d+(\.\d+)?")  # a time that is left, or a range that was asked for, is no other cause


class Complaints:
    """Which causes have been told lately.

    Parameters
    ----------
    now_ns
        Clock for what lasts.
    """

    def __init__(self, now_ns: Callable[[], int] = boot_ns) -> None:
        self._now_ns = now_ns
        self._told_ns: dict[tuple[str, str], int] = {}

    def is_news(self, about: str, cause: str) -> bool:
        """Whether to tell it now; then it counts as told."""
        key, now_ns = (about, _NUMBER.sub("#", cause)), self._now_ns()
        told_ns = self._told_ns.get(key)
        if told_ns is not None and now_ns - told_ns < _AGAIN_NS:
            return False
        if len(self._told_ns) >= _MOST:
            self._told_ns.clear()
        self._told_ns[key] = now_ns
        return True

    def end(self, about: str) -> None:
        """It works: what is wrong next is news, unless that is so at once."""
        now_ns = self._now_ns()
        self._told_ns = {
            key: told_ns
            for key, told_ns in self._told_ns.items()
            if key[0] != about or now_ns - told_ns < _FLUTTER_NS
        }
