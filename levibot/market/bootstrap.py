"""Opening the markets that are wanted: a few at a time, each on its own if it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from levibot.errors import BackOffError, ExchangeRefusedError, LeviBotError, RetryError
from levibot.market.recording import Market
from levibot.market.source import Source
from levibot.market.states import AGAIN, ENDED, FAILED, LIVE, OPENING

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 15.0  # seconds between two attempts
_REFUSED_DELAY = 600.0  # an exchange may list a market that it does not know now


class Bootstrapper:
    """Keeps the set of open markets equal to the set of wanted ones.

    Parameters
    ----------
    source
        Where markets are opened.
    opened
        Called with each symbol that was opened.
    failed
        Called with each symbol that could not be opened, and why.
    closed
        Called with each symbol that is wanted no longer.
    """

    def __init__(
        self,
        source: Source,
        opened: Callable[[str, Market], None],
        failed: Callable[[str, Exception], None],
        closed: Callable[[str], None],
    ) -> None:
        self.states: dict[str, str] = {}  # symbol → opening, live, ended, or why not
        self._source = source
        self._opened = opened
        self._failed = failed
        self._closed = closed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(source.opens_at_once)
        self._unattempted: set[str] = set()

    @property
    def attempted(self) -> bool:
        """Whether each wanted symbol has been tried at least once."""
        return not self._unattempted

    def want(self, symbols: Iterable[str]) -> None:
        """Open what is new among `symbols`, and what failed for good; close what is not among them."""
        wanted = sorted(set(symbols))
        for symbol in set(self.states) - set(wanted):
            self._drop(symbol)
        for symbol in wanted:
            state = self.states.get(symbol)
            if state is None or (state.startswith(FAILED) and not state.endswith(AGAIN)):
                if (waiting := self._tasks.get(symbol)) is not None:
                    waiting.cancel()
                self.states[symbol] = OPENING
                self._unattempted.add(symbol)
                self._tasks[symbol] = asyncio.create_task(self._open(symbol))

    def end(self, symbol: str) -> None:
        """Note that the recording of an open market is over."""
        self.states[symbol] = ENDED

    async def stop(self) -> None:
        """End all attempts."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, symbol: str) -> None:
        self._tasks.pop(symbol).cancel()
        self._unattempted.discard(symbol)
        del self.states[symbol]
        self._source.close(symbol)
        self._closed(symbol)

    async def _open(self, symbol: str) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                async with self._turns:
                    market = await self._source.open(symbol)
                self.states[symbol] = LIVE
                self._unattempted.discard(symbol)
                self._opened(symbol, market)
            except (RetryError, BackOffError, OSError) as error:
                self._fail(symbol, error, AGAIN)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            except ExchangeRefusedError as error:
                self._fail(symbol, error)
                await asyncio.sleep(_REFUSED_DELAY)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other symbols go on; reported
                self._fail(symbol, error)
                return
            else:
                return

    def _fail(self, symbol: str, error: Exception, after: str = "") -> None:
        text = str(error) if isinstance(error, LeviBotError) else f"{type(error).__name__}: {error}"
        self.states[symbol] = f"{FAILED}{text}{after}"
        self._unattempted.discard(symbol)
        self._failed(symbol, error)
