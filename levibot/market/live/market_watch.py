"""When to read the markets again out of turn: a symbol that freezes may have been halted.

A halted market still shows its last prices, so that its silence looks right. Only its specification tells.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from levibot.market.live.pauses import Pause
from levibot.market.live.symbol import SymbolFeed

FROZEN_S = 30.0  # without a word on any stream
LEAST_S = 60.0  # between two readings: some exchanges answer with ten megabytes
_QUIET_S, _GONE_S = 3600.0, 600.0  # longest pause for a market that is only quiet, and for one that does not trade
_NS = 1_000_000_000


class MarketWatch:
    """Says when.

    Parameters
    ----------
    feeds
        The symbols that are streamed now; read anew each time.
    refused
        Symbols that requests do not know.
    """

    def __init__(self, feeds: Mapping[str, SymbolFeed], refused: Container[str]) -> None:
        self._feeds = feeds
        self._refused = refused
        self._read_ns: int | None = None
        self._pauses: dict[str, Pause] = {}

    def has_read(self, now_ns: int) -> None:
        """The markets have been read, or it was tried."""
        self._read_ns = now_ns

    def may_read(self, now_ns: int) -> bool:
        """Whether the last time is long enough ago."""
        return self._read_ns is None or now_ns - self._read_ns >= LEAST_S * _NS

    def changed(self, symbol: str) -> None:
        """A specification has changed: what comes next is new."""
        self._pauses.pop(symbol, None)

    def wants(self, now_ns: int) -> bool:
        """Whether to read them now; then each symbol that wanted it pauses."""
        if not self.may_read(now_ns):
            return False
        wanted = [symbol for symbol, feed in self._feeds.items() if self._asks(symbol, feed, now_ns)]
        for symbol in wanted:
            is_gone = symbol in self._refused or not self._feeds[symbol].trades_now
            pause = self._pauses.setdefault(symbol, Pause(LEAST_S, _GONE_S if is_gone else _QUIET_S))
            pause.begin(now_ns)
        return bool(wanted)

    def _asks(self, symbol: str, feed: SymbolFeed, now_ns: int) -> bool:
        if not feed.trades_now and self._read_ns is not None and feed.heard_ns > self._read_ns:
            return True  # it seems to trade again
        pause = self._pauses.get(symbol)
        if pause is not None and not pause.is_over(now_ns):
            return False
        # also where its streams are lost: those of a market that is gone cannot be subscribed again
        is_frozen = now_ns - feed.heard_ns > FROZEN_S * _NS
        return is_frozen or symbol in self._refused or not feed.trades_now
