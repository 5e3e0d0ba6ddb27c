"""What is to be done on the exchange for one symbol, one thing at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Job = Callable[[], Awaitable[None]]


class JobQueue:
    """Jobs in the order in which they came; urgent ones before all others."""

    def __init__(self) -> None:
        self._urgent: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, job: Job, *, urgent: bool = False) -> None:
        """Add a job."""
        (self._urgent if urgent else self._others).append(job)
        self._filled.set()

    async def next(self) -> Job:
        """The next job, as soon as there is one."""
        while not self:
            self._filled.clear()
            await self._filled.wait()
        return self._urgent.popleft() if self._urgent else self._others.popleft()
