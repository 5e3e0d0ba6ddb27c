"""Order books cut to a depth, as some exchanges stream them: a snapshot first, then what changed in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tests.exchange.book import Book
from tests.exchange.model import BookChange, Level, Side

SIDES: tuple[Side, Side] = ("buy", "sell")


@dataclass(frozen=True)
class ViewChange:
    """What changed in a view, or all that is in it.

    Parameters
    ----------
    bids, asks
        Best first; amount 0: the level is gone, or has left the depth.
    sequence_id, previous_id
        Update id of the book now, and at the change before.
    number
        Counts the changes of the view.
    """

    bids: list[Level]
    asks: list[Level]
    sequence_id: int
    previous_id: int
    number: int


@dataclass
class _View:
    depth: int
    sequence_id: int
    levels: dict[Side, dict[Decimal, Decimal]]
    number: int = 1
    last: tuple[BookChange, ViewChange] | None = field(default=None, repr=False)


class Views:
    """One view for each stream of a book; all who listen to a stream share it."""

    def __init__(self) -> None:
        self._views: dict[str, _View] = {}

    def snapshot(self, stream: str, book: Book, depth: int, *, anew: bool) -> ViewChange:
        """All that is in the view now, as those see it who listen already.

        Parameters
        ----------
        anew
            Nobody listens yet, so that it begins with the book as it is.
        """
        if anew or stream not in self._views:
            self._views[stream] = _View(depth, book.update_id, _cut(book, depth))
        view = self._views[stream]
        bids, asks = (sorted(view.levels[side].items(), reverse=side == "buy") for side in SIDES)
        return ViewChange(bids, asks, view.sequence_id, -1, view.number)

    def change(self, stream: str, book: Book, event: BookChange) -> ViewChange | None:
        """What this event changed in the view; None: nothing.

        An event may be encoded twice, the second time with a level that crosses the book.
        """
        view = self._views[stream]
        if view.last is not None and view.last[0].last_id == event.last_id:
            return _crossed(view.last[1], event)
        now = _cut(book, view.depth)
        bids, asks = (_difference(view.levels[side], now[side], falling=side == "buy") for side in SIDES)
        if not bids and not asks:
            return None
        view.levels = now
        view.number += 1
        change = ViewChange(bids, asks, event.last_id, view.sequence_id, view.number)
        view.sequence_id, view.last = event.last_id, (event, change)
        return change


def _cut(book: Book, depth: int) -> dict[Side, dict[Decimal, Decimal]]:
    return {side: dict(book.levels(side, depth)) for side in SIDES}


def _difference(before: dict[Decimal, Decimal], now: dict[Decimal, Decimal], *, falling: bool) -> list[Level]:
    gone = {price: Decimal(0) for price in before if price not in now}
    changed = {price: amount for price, amount in now.items() if before.get(price) != amount}
    return sorted({**gone, **changed}.items(), reverse=falling)


def _crossed(change: ViewChange, event: BookChange) -> ViewChange:
    """The same change with the best bid of the event before its own."""
    return ViewChange(
        [event.bids[0], *change.bids], change.asks, change.sequence_id, change.previous_id, change.number
    )
