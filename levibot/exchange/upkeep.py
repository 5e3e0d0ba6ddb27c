"""What a session does on its own while others use it: once, or again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

_AGAIN_S = 30.0  # after a step that failed


class Upkeep:
    """Tasks of a session.

    Parameters
    ----------
    trouble
        Told what a repeated step is about, and how it failed.
    """

    def __init__(self, trouble: Callable[[str, Exception], None]) -> None:
        self._trouble = trouble
        self._repeated: list[asyncio.Task[None]] = []
        self._passing: set[asyncio.Task[None]] = set()
        self._to_be_ended: set[asyncio.Task[None]] = set()

    @property
    def is_running(self) -> bool:
        """Whether something is repeated."""
        return bool(self._repeated)

    def repeat(self, what: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do a step every so many seconds, for the first time after that; one that failed sooner again."""
        self._repeated.append(asyncio.create_task(self._repeat(what, step, every_s)))

    def once(self, work: Coroutine[Any, Any, None], *, must_end: bool = False) -> None:
        """Do something in the background.

        Parameters
        ----------
        must_end
            Whether `close` waits for it instead of cancelling it.
        """
        tasks = self._to_be_ended if must_end else self._passing
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def close(self) -> None:
        """End everything; no task is left."""
        for task in (*self._repeated, *self._passing):
            task.cancel()
        await asyncio.gather(*self._repeated, *self._passing, *self._to_be_ended, return_exceptions=True)
        self._repeated = []

    async def _repeat(self, what: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        pause_s = every_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                await step()
                pause_s = every_s
            except Exception as error:  # noqa: BLE001  # whatever an answer did: told, and asked again
                self._trouble(what, error)
                pause_s = min(every_s, _AGAIN_S)
