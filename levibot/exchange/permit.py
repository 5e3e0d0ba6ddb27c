"""What goes with one call down to the requests that ccxt makes of it: whose budget it uses, and its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from levibot.exchange.budget import WeightClass


class Permit:
    """One call: whose part of the budget it uses, and its deadline, which stands still while it waits there."""

    def __init__(self, weight_class: WeightClass, timeout: asyncio.Timeout) -> None:
        self.weight_class = weight_class
        self._timeout = timeout
        self._waiting = 0
        self._left = 0.0

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the deadline; requests of one call may wait at the same time."""
        loop, when = asyncio.get_running_loop(), self._timeout.when()
        if self._waiting == 0 and when is not None:
            self._left = when - loop.time()
            self._timeout.reschedule(None)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self._timeout.expired():
                self._timeout.reschedule(loop.time() + self._left)


PERMIT: ContextVar[Permit | None] = ContextVar("permit", default=None)
