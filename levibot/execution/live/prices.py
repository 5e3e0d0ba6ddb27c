"""Prices that the broker reads from the exchange itself, when the feed has none that count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, RetryError
from levibot.exchange.trading import Trading
from levibot.execution.live.journal import Tell
from levibot.execution.quotes import Quote

_PAUSE_NS = 1_000_000_000  # between two questions
_FRESH_NS = 1_500_000_000  # an answer is good for so long
_READ_S = 2.0  # for an answer


class OwnPrices:
    """Asks for the best prices of one symbol, one question at a time, in a task of its own.

    Parameters
    ----------
    symbol
        Whose.
    trading
        Who is asked.
    tell_trouble
        Told of what failed, for people.
    """

    def __init__(self, symbol: str, trading: Trading, tell_trouble: Tell) -> None:
        self._symbol = symbol
        self._trading = trading
        self._tell_trouble = tell_trouble
        self._reading: asyncio.Task[None] | None = None
        self._asked_ns = 0  # when the last question was over
        self._quote: Quote | None = None
        self._quote_ns = 0
        self.heard: Callable[[Quote], None] | None = None  # told of each answer

    def fresh(self, now_ns: int) -> Quote | None:
        """The newest answer; None: there is none, or it is too old."""
        return self._quote if now_ns - self._quote_ns < _FRESH_NS else None

    def refresh(self, now_ns: int) -> None:
        """Ask, unless a question is under way or only just over. Returns at once; `now_ns` is CLOCK_BOOTTIME."""
        if self._reading is None and now_ns - self._asked_ns >= _PAUSE_NS:
            self._reading = asyncio.create_task(self._read(), name=f"prices of {self._symbol}")

    async def close(self) -> None:
        """End a question that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_READ_S):
                quote = Quote(*await self._trading.best_prices(self._symbol))
        except (RetryError, BackOffError, ExchangeRefusedError, TimeoutError) as error:
            self._tell_trouble(f"the feed has no price that counts, and none could be read: {error}")
        else:
            self._quote, self._quote_ns = quote, boot_ns()
            if self.heard is not None:
                self.heard(quote)
        finally:
            self._asked_ns = boot_ns()
            self._reading = None
