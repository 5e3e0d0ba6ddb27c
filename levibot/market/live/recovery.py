"""What the streams did not bring is read by REST: trades with overlap, bars, and bars to compare with."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Literal

from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, LeviBotError
from levibot.exchange.candles import closed_until_ms, fetch_candles
from levibot.exchange.public import recent_trades
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.live.pauses import Refusals
from levibot.market.live.symbol import SymbolFeed

_LOOK_S = 0.1
_FIRST_S, _LONGEST_S = 0.5, 8.0  # between two attempts
_LONGEST_VAIN_S = 4.0  # after answers that did not hold yet what is missing
_LATE_MS = 10_000  # a bar that an exchange has not got so long after its end, it lacks
_CHECK_AFTER_MS = 3_000  # an exchange may still add to a bar just after its end
_SPREAD_MS = 4_000  # over which the checks of all symbols are spread


_Outcome = Literal["nothing to do", "brought", "in vain"]


class Recovery:
    """Keeps one symbol complete.

    Parameters
    ----------
    session
        Open.
    symbol
        Canonical.
    feed
        Says what is missing, and takes it.
    refusals
        Symbols that are asked for seldom; this one joins them when it is refused.
    failed
        Called with each attempt that failed, and why.
    """

    def __init__(
        self,
        session: ExchangeSession,
        symbol: str,
        feed: SymbolFeed,
        refusals: Refusals,
        failed: Callable[[Exception], None],
    ) -> None:
        self._session = session
        self._symbol = symbol
        self._feed = feed
        self._refusals = refusals
        self._failed = failed
        self._delay_s = _FIRST_S
        self._checked_ms = 0  # when bars were last compared
        self._check_ms = _CHECK_AFTER_MS + zlib.crc32(symbol.encode()) % _SPREAD_MS

    async def run(self) -> None:
        """Bring what is missing, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for step in (self._bring_trades, self._bring_bars, self._check_bars):
                await self._attempt(step)

    async def _attempt(self, step: Callable[[], Awaitable[_Outcome]]) -> None:
        if not self._session.may_ask or not self._refusals.may_ask(self._symbol, boot_ns()):
            return
        try:
            outcome = await step()
        except ExchangeRefusedError as error:
            self._refusals.note(self._symbol, boot_ns())
            self._failed(error)
            return
        except LeviBotError as error:
            self._failed(error)
            await self._pause(_LONGEST_S if not isinstance(error, BackOffError) else 2 * _LONGEST_S)
            return
        if outcome != "nothing to do":
            self._refusals.end(self._symbol)
        if outcome == "brought":
            self._delay_s = _FIRST_S
        elif outcome == "in vain":
            await self._pause(_LONGEST_VAIN_S)

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(min(self._delay_s, longest_s))
        self._delay_s = min(2 * self._delay_s, longest_s)

    async def _bring_trades(self) -> _Outcome:
        if not self._feed.wants_trades:
            return "nothing to do"
        asked_ns = boot_ns()
        self._feed.add_trades(await recent_trades(self._session, self._symbol), asked_ns)
        return "in vain" if self._feed.wants_trades else "brought"

    async def _bring_bars(self) -> _Outcome:
        from_ms = self._feed.bars_from_ms
        now_ms = self._session.exchange_ms()
        until_ms = closed_until_ms(now_ms)
        if from_ms is None or until_ms <= from_ms:
            return "nothing to do"
        bars = await fetch_candles(self._session, self._symbol, from_ms, until_ms)
        until_ms = _known_until(bars, from_ms, until_ms, now_ms)
        if until_ms <= from_ms:
            return "in vain"
        self._feed.add_bars(bars, until_ms)
        return "brought"

    async def _check_bars(self) -> _Outcome:
        from_ms = self._feed.unchecked_ms
        now_ms = self._session.exchange_ms()
        if from_ms is None or now_ms < max(from_ms, self._checked_ms) + MINUTE_MS + self._check_ms:
            return "nothing to do"
        self._checked_ms = now_ms // MINUTE_MS * MINUTE_MS
        until_ms = closed_until_ms(now_ms)
        self._feed.check_bars(await fetch_candles(self._session, self._symbol, from_ms, until_ms), until_ms)
        return "brought"


def _known_until(bars: list[Candle], from_ms: int, until_ms: int, now_ms: int) -> int:
    """Up to where `bars` are all there is: the newest one may only be late."""
    newest_ms = bars[-1].close_ms if bars else from_ms
    return max(newest_ms, min(until_ms, (now_ms - _LATE_MS) // MINUTE_MS * MINUTE_MS))
