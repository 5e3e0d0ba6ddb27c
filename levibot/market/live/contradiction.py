"""Two streams that both tell the best prices: the one that does not follow the other is dead."""

from __future__ import annotations

from typing import Literal

PATIENCE_NS = 2_000_000_000  # order books come at least once a second where something happens
_BOOK_LATE_NS = 1_000_000_000

Told = Literal["quote", "book"]
Prices = tuple[float, float]  # best bid, best ask


class Contradiction:
    """What the best-price stream and the order book of one symbol say of the best prices.

    Silence of one of them means nothing as long as the other says the same.
    """

    def __init__(self) -> None:
        self._prices: dict[Told, Prices] = {}
        self._since_ns: dict[Told, int] = {}  # contradicted from then on, and silent
        self._heard_ns: dict[Told, int] = {}

    def note(self, told: Told, prices: Prices, now_ns: int) -> None:
        """One of the two has told its best prices."""
        other: Told = "book" if told == "quote" else "quote"
        self._prices[told] = prices
        self._since_ns.pop(told, None)
        self._heard_ns[told] = now_ns
        if self._prices.setdefault(other, prices) != prices:  # what has said nothing yet is taken to agree
            self._since_ns.setdefault(other, now_ns)
        elif other == "book" or not self._has_missed():
            self._since_ns.pop(other, None)

    def _has_missed(self) -> bool:
        """Whether the book has shown best prices that their own stream, which tells every one, did not tell.

        A book is late by its interval: what it shows may be older than the newest best price.
        """
        since_ns = self._since_ns.get("quote")
        return since_ns is not None and since_ns - self._heard_ns.get("quote", since_ns) > _BOOK_LATE_NS

    def silent(self, now_ns: int) -> Told | None:
        """The stream that has said nothing although the other contradicted it, for too long."""
        return next((told for told, since_ns in self._since_ns.items() if now_ns - since_ns > PATIENCE_NS), None)
