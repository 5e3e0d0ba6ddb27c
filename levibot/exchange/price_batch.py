"""One request for the best prices of many symbols that are asked for at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

_GATHER_S = 0.02  # whoever asks within this time is answered by the same request
_FEW = 3  # up to so many are asked for one by one: the answer for all symbols of an exchange takes long to read


class _Batch:
    def __init__(self) -> None:
        self.symbols: set[str] = set()
        self.answer: asyncio.Future[Any] | None = None


class PriceBatch:
    """Brings questions together: else fifteen quiet symbols spend the share that is kept for exits on prices.

    Parameters
    ----------
    ask_one
        Asks for one symbol.
    ask_all
        Asks for several in one request.
    """

    def __init__(
        self, ask_one: Callable[[str], Awaitable[Any]], ask_all: Callable[[list[str]], Awaitable[Any]]
    ) -> None:
        self._ask_one = ask_one
        self._ask_all = ask_all
        self._gathering: _Batch | None = None

    async def ask(self, symbol: str) -> Any:
        """What the exchange answers, to be looked up by the symbol; raises what the request raises."""
        batch = self._gathering = self._gathering or _Batch()
        batch.symbols.add(symbol)
        await asyncio.sleep(_GATHER_S)
        if self._gathering is batch:
            self._gathering = None
        if len(batch.symbols) <= _FEW:
            return await self._ask_one(symbol)
        if batch.answer is None:
            batch.answer = asyncio.ensure_future(self._ask_all(sorted(batch.symbols)))
            batch.answer.add_done_callback(_heard)
        return await asyncio.shield(batch.answer)  # one that gives up waiting ends it for no other


def _heard(answer: asyncio.Future[Any]) -> None:
    """All may have given up waiting."""
    if not answer.cancelled():
        answer.exception()
