"""What ccxt leaves to the event loop: exceptions of tasks and futures that nobody awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any

from levibot.exchange.failures import redact

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class LoopErrors:
    """Stands in front of the loop's exception handler and takes out what comes from ccxt.

    A stream that breaks is dealt with where it is watched; the same error again from a forgotten future
    is noise, and must not count as an error of the worker, which too many restart.

    Parameters
    ----------
    report
        Called with each exception that is ccxt's.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._before: _Handler | None = None

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        self._before = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)

    def remove(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put the former handler back."""
        if loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and _is_of_ccxt(error, context):
            redact(error)
            self._report(error)
        elif self._before is not None:
            self._before(loop, context)
        else:
            loop.default_exception_handler(context)


def _is_of_ccxt(error: Exception, context: dict[str, Any]) -> bool:
    owner = context.get("future") or context.get("task")
    return (
        type(error).__module__.startswith("ccxt.")
        or type(owner).__module__.startswith("ccxt.")
        or _passes_ccxt(error.__traceback__)
    )


def _passes_ccxt(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("ccxt."):
            return True
        traceback = traceback.tb_next
    return False
