"""While streams are lost, one light request now and then finds out for all symbols when the exchange is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container, Mapping

from levibot.clock import boot_ns
from levibot.errors import LeviBotError
from levibot.exchange.public import knock
from levibot.exchange.session import ExchangeSession
from levibot.market.live.pauses import Pause
from levibot.market.live.symbol import SymbolFeed

_LOOK_S = 0.2
_FIRST_S, _LONGEST_S = 1.0, 5.0  # between two requests, while requests are answered and streams are not there


class Scout:
    """Asks, and tells what it means.

    Parameters
    ----------
    session
        Open.
    feeds
        The symbols that are streamed now; read anew at each look.
    refused
        Symbols that requests do not know: their streams are expected to be lost.
    lost
        Called with the cause when requests are not answered any more.
    returned
        Called when they are again, whoever has found that out.
    """

    def __init__(
        self,
        session: ExchangeSession,
        feeds: Mapping[str, SymbolFeed],
        refused: Container[str],
        lost: Callable[[str], None],
        returned: Callable[[], None],
    ) -> None:
        self._session = session
        self._feeds = feeds
        self._refused = refused
        self._lost = lost
        self._returned = returned
        self._pause = Pause(_FIRST_S, _LONGEST_S)

    async def run(self) -> None:
        """Look until cancelled."""
        reach = self._session.reach
        returns, was_lost = reach.returns, False
        while True:
            await asyncio.sleep(_LOOK_S)
            if reach.is_lost and not was_lost:
                self._lost(reach.cause)
            was_lost = reach.is_lost
            if reach.returns != returns:
                returns = reach.returns
                self._returned()
            if self._is_due():
                with contextlib.suppress(LeviBotError):  # the session's reach knows
                    await knock(self._session)

    def _is_due(self) -> bool:
        now_ns, reach = boot_ns(), self._session.reach
        if not reach.is_lost and not self._misses_streams():
            self._pause = Pause(_FIRST_S, _LONGEST_S)
            return False
        if not self._pause.is_over(now_ns) or not reach.is_due or self._session.cool_down.remaining_s():
            return False
        self._pause.begin(now_ns)
        return True

    def _misses_streams(self) -> bool:
        return any(
            not feed.is_trusted and feed.trades_now and symbol not in self._refused
            for symbol, feed in self._feeds.items()
        )
