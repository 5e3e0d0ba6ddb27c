"""What one symbol's ticks and books are made of, conflated: of those between two messages the newest wins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from levibot.config_market import FeedConfig
from levibot.exchange.quirks import Quirks
from levibot.exchange.validation import BookSnapshot, PublicTrade
from levibot.market.liquidity import Liquidity
from levibot.market.live.pacing import Pace
from levibot.market.path import BookLevels, Quote

_QUOTE_RULES_NS = 1_000_000_000  # so long after a quote, the top of the book is newer than it


class Prices:
    """Newest bid, ask, last price and book.

    Parameters
    ----------
    config
        Section ``[feed]``.
    quirks
        Of the exchange.
    liquidity
        Of the same symbol; is given what is to be sent.
    """

    def __init__(self, config: FeedConfig, quirks: Quirks, liquidity: Liquidity) -> None:
        self.top: tuple[float, float] | None = None
        self.books = 0  # published
        self._liquidity = liquidity
        self._book_rules = quirks.best_price == "watch_order_book"
        self._ticks = Pace(config.live_tick_hz)
        self._book_pace = Pace(config.book_hz)
        self._book: BookLevels | None = None
        self._last: float | None = None
        self._last_ms = 0
        self._volume = 0.0  # since the last tick
        self._event_ms = 0
        self._received_ns = 0
        self._quote_ns = 0

    def begin(self, close: float | None) -> None:
        """Until there is a trade, the last price is the close of the history, or the middle of the book."""
        if self._last is None:
            self._last = close

    def quote(self, bid: float, ask: float, event_ms: int, received_ns: int) -> bool:
        """Take best bid and ask; False if they make no sense."""
        if not 0 < bid < ask < math.inf:
            return False
        self.top = bid, ask
        self._quote_ns = received_ns
        self._change(event_ms, received_ns)
        return True

    def take_book(self, book: BookSnapshot, event_ms: int, received_ns: int, *, needs_quote: bool) -> bool | None:
        """Take an order book; None if it makes no sense, else whether best bid and ask are taken from it.

        They are where no stream of their own works, or it is silent: a book is no older than it then.
        """
        bids, asks = book.bids, book.asks
        if not all(_is_sound(level) for side in (bids, asks) for level in side):
            return None
        if bids and asks and bids[0][0] >= asks[0][0]:
            return None
        self._book = BookLevels(event_ms, bids, asks, received_ns)
        self._book_pace.waiting = True
        if not (bids and asks):
            return False
        if not (self._book_rules or needs_quote or received_ns - self._quote_ns > _QUOTE_RULES_NS):
            return False
        self.top = bids[0][0], asks[0][0]
        self._change(event_ms, received_ns)
        return True

    def know(self, trades: Sequence[PublicTrade]) -> None:
        """Take the last price of trades that are nobody's news."""
        for trade in trades:
            if trade.event_ms >= self._last_ms:
                self._last, self._last_ms = trade.price, trade.event_ms

    def trade(self, trades: Sequence[PublicTrade], received_ns: int) -> None:
        """Take new trades: last price and volume."""
        self.know(trades)
        self._volume += sum(trade.amount for trade in trades)
        self._change(max(trade.event_ms for trade in trades), received_ns)

    def confirm(self, event_ms: int, now_ns: int) -> bool:
        """Bid and ask are still the same; False if they were never known."""
        if self.top is None:
            return False
        self._change(event_ms, now_ns)
        return True

    def due(self, now_ns: int, event_ms: int, *, quoted: bool) -> Iterator[Quote | BookLevels]:
        """What is to be sent now; no event time is before `event_ms`, and no tick while bid and ask are old."""
        if quoted and self.top is not None and self._ticks.due(now_ns):
            bid, ask = self.top
            last = (bid + ask) / 2 if self._last is None else self._last
            event_ms = max(event_ms, self._event_ms)
            self._liquidity.quote(event_ms, bid, ask)
            yield Quote(event_ms, bid, ask, last, self._volume, self._received_ns)
            self._volume = 0.0
        if self._book is not None and self._book_pace.due(now_ns):
            self.books += 1
            book = self._book._replace(event_ms=max(event_ms, self._book.event_ms))
            self._liquidity.book(book.event_ms, book.bids, book.asks)
            yield book

    def _change(self, event_ms: int, received_ns: int) -> None:
        self._event_ms = max(self._event_ms, event_ms)
        self._received_ns = max(self._received_ns, received_ns)
        self._ticks.waiting = True


def _is_sound(level: tuple[float, float]) -> bool:
    return 0 < level[0] < math.inf and 0 < level[1] < math.inf
