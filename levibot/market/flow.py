"""Public trades and order books of one symbol, as an engine receives them whose strategy wants them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from levibot.bus.codec import BOOK, TRADES, FlowDecoder, topic
from levibot.bus.messages import Book, Trades
from levibot.errors import MalformedMessageError


class FlowStream:
    """Keeps what is new until it is released, of books the latest, and counts what was lost.

    Parameters
    ----------
    symbol
        Canonical symbol.
    trades, books
        What is wanted; not both False.
    refuse
        Called with what was wrong with a message that could not be read.

    Attributes
    ----------
    topics
        What to subscribe to.
    dropped
        Messages that were published and never came.
    """

    def __init__(self, symbol: str, *, trades: bool, books: bool, refuse: Callable[[str], None]) -> None:
        wanted = [prefix for prefix, want in ((TRADES, trades), (BOOK, books)) if want]
        self.topics = tuple(topic(prefix, symbol) for prefix in wanted)
        self.dropped = 0
        self._symbol = symbol
        self._refuse = refuse
        self._decode = FlowDecoder()
        self._newest: dict[type[Trades | Book], tuple[int, int]] = {}  # epoch, seq
        self._book: Book | None = None
        self._trades: list[Trades] = []

    def owns(self, frame: bytes) -> bool:
        """Whether a frame is one of these."""
        return frame.startswith(self.topics)

    def take(self, frame: bytes) -> None:
        """Read a frame."""
        try:
            message = self._decode(frame)
        except MalformedMessageError as error:
            self._refuse(f"market data: {error}")
            return
        problem = _problem(message, self._symbol)
        if problem:
            self._refuse(f"market data: {problem}")
        elif self._is_new(message):
            if isinstance(message, Trades):
                self._trades.append(message)
            else:
                self._book = message

    def release(self) -> Iterator[Book | Trades]:
        """What has not been given yet: the latest book, and all trades in order."""
        book, self._book = self._book, None
        trades, self._trades = self._trades, []
        if book is not None:
            yield book
        yield from trades

    def _is_new(self, message: Trades | Book) -> bool:
        kind, place = type(message), (message.epoch, message.seq)
        newest = self._newest.get(kind)
        if newest is not None:
            if place <= newest:
                return False
            if message.epoch == newest[0]:
                self.dropped += message.seq - newest[1] - 1
        self._newest[kind] = place
        return True


def _problem(message: Trades | Book, symbol: str) -> str:
    if message.symbol != symbol:
        return f"a message of {message.symbol!r:.40} under the topic of {symbol}"
    if isinstance(message, Trades):
        sound = _are_sound((trade.price, trade.amount) for trade in message.trades)
    else:
        sound = _are_sound(message.bids) and _are_sound(message.asks)
    return "" if sound else f"{type(message).__name__.lower()} {message.seq} has a price or an amount that is none"


def _are_sound(levels: Iterable[tuple[float, float]]) -> bool:
    return all(0 < price < math.inf and 0 <= amount < math.inf for price, amount in levels)
