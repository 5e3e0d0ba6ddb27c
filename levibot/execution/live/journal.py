"""What a symbol's desk writes into the books, and whom it tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from levibot.bus.messages import OrderEvent
from levibot.errors import FullDiskError, LockedStoreError
from levibot.execution.books import Books

Publish = Callable[[list[OrderEvent]], None]
Tell = Callable[[str], None]

_AGAIN_S = 0.5  # after the disk refused a write


class Journal:
    """Changes of the books, one commit at a time, told to followers once they are on disk.

    Parameters
    ----------
    books
        The account.
    publish
        Sends committed events to whom they concern.
    tell_trouble
        Told in words of each write that the disk refused.
    exchange_ms
        The exchange's time.
    """

    def __init__(self, books: Books, publish: Publish, tell_trouble: Tell, exchange_ms: Callable[[], int]) -> None:
        self.books = books
        self.publish = publish
        self._tell = tell_trouble
        self.exchange_ms = exchange_ms

    async def write(self, change: Callable[[], object]) -> None:
        """Make changes in one commit, whenever the disk takes it: what the exchange did cannot be undone.

        Raises
        ------
        DataStoreError
            The books cannot be used any more. A full disk or a lock is waited for.
        """
        await self.write_all([(self.exchange_ms(), change)])

    async def write_all(self, changes: Sequence[tuple[int, Callable[[], object]]]) -> None:
        """Make changes, each at its market time in Unix ms, in one commit.

        Raises
        ------
        DataStoreError
            As `write`.
        """
        while True:
            try:
                self.publish(self._commit(changes))
            except (FullDiskError, LockedStoreError) as error:
                self._tell(str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    def _commit(self, changes: Sequence[tuple[int, Callable[[], object]]]) -> list[OrderEvent]:
        written: list[OrderEvent] = []
        with self.books.group():
            for event_ms, change in changes:
                with self.books.transaction(event_ms) as events:
                    change()
                written += events
        return written
