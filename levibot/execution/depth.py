"""An order book as one who trades on paper meets it: what was taken from it is gone until the next one."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from levibot.bus.messages import Book, Side
from levibot.execution.position import ZERO
from levibot.execution.precision import floor_to


class Slice(NamedTuple):
    """What is traded at one price."""

    quantity: Decimal  # base
    price: Decimal


class Depth:
    """The levels of a book, less what was taken from them.

    Parameters
    ----------
    book
        As it came, best prices first.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self._taken: dict[tuple[Side, float], Decimal] = {}

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is not below the best ask: a book that cannot be."""
        bids, asks = self.book.bids, self.book.asks
        return bool(bids and asks and bids[0][0] >= asks[0][0])

    def best(self, side: Side) -> float | None:
        """Best price that a taker of `side` meets; None: there is none."""
        levels = self._met_by(side)
        return levels[0][0] if levels else None

    def plan(self, side: Side, quantity: Decimal, limit: Decimal | None, step: Decimal) -> list[Slice]:
        """What a taker would get, level by level, best first; less than `quantity` where the book ends.

        Parameters
        ----------
        side, quantity, limit
            Of the taker; None: at any price.
        step
            Of amounts: each slice is a multiple of it.
        """
        slices: list[Slice] = []
        for level, amount in self._met_by(side):
            if quantity <= 0:
                break
            price = Decimal(repr(level))
            if limit is not None and (price > limit if side == "buy" else price < limit):
                break
            free = Decimal(repr(amount)) - self._taken.get((side, level), ZERO)
            part = min(floor_to(max(free, ZERO), step), quantity)
            if part > 0:
                slices.append(Slice(part, price))
                quantity -= part
        return slices

    def take(self, side: Side, slices: list[Slice]) -> None:
        """Remove what a taker of `side` has got."""
        for quantity, price in slices:
            key = (side, float(price))
            self._taken[key] = self._taken.get(key, ZERO) + quantity

    def resting(self, side: Side, price: float) -> Decimal | None:
        """Amount of orders of `side` that rest at `price`; None: the book does not reach so far."""
        levels = self.book.bids if side == "buy" else self.book.asks
        for level, amount in levels:
            if level == price:
                return Decimal(repr(amount))
            if level < price if side == "buy" else level > price:
                return ZERO
        return None

    def _met_by(self, side: Side) -> list[tuple[float, float]]:
        return self.book.asks if side == "buy" else self.book.bids
