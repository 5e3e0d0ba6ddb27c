"""Two streams that both tell the best prices: the one that does not follow the other is dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Both come on one connection, in order, and the slower one, the order book, at least every tenth of a second
# where something happens.
PATIENCE_NS = 1_500_000_000
_BOOK_LATE_NS = 1_000_000_000

Told = Literal["quote", "book"]
Prices = tuple[float, float]  # best bid, best ask


@dataclass(slots=True)
class _Silence:
    """Of one stream since its last word, while the other contradicted it."""

    heard_ns: int | None  # its last word
    lasted_ns: int = 0
    since_ns: int | None = None  # it goes on

    def begin(self, now_ns: int) -> None:
        """The other one says something else."""
        if self.since_ns is None:
            self.since_ns = now_ns

    def pause(self, now_ns: int) -> None:
        """They agree again; perhaps only by chance."""
        if self.since_ns is not None:
            self.lasted_ns += now_ns - self.since_ns
            self.since_ns = None

    def so_far_ns(self, now_ns: int) -> int:
        return self.lasted_ns + (0 if self.since_ns is None else now_ns - self.since_ns)


class Contradiction:
    """What the best-price stream and the order book of one symbol say of the best prices.

    Silence of one of them means nothing as long as the other says the same. Best prices that have not come yet
    are taken to be those of the first book; a book that has not come yet is begun by a request, which may fail
    again and again, and says nothing of its stream.
    """

    def __init__(self) -> None:
        self._prices: dict[Told, Prices] = {}
        self._silences: dict[Told, _Silence] = {"quote": _Silence(None), "book": _Silence(None)}

    def note(self, told: Told, prices: Prices, now_ns: int) -> None:
        """One of the two has told its best prices."""
        other: Told = "book" if told == "quote" else "quote"
        self._prices[told] = prices
        self._silences[told] = _Silence(now_ns)
        if other == "quote":
            self._prices.setdefault(other, prices)
        if self._prices.get(other, prices) != prices:
            self._silences[other].begin(now_ns)
        elif other == "book" or not self._has_missed():
            self._silences[other].pause(now_ns)

    def silent(self, now_ns: int) -> Told | None:
        """The stream that says nothing although the other has contradicted it for too long."""
        return next((told for told, s in self._silences.items() if s.so_far_ns(now_ns) > PATIENCE_NS), None)

    def _has_missed(self) -> bool:
        """Whether the book has shown best prices that their own stream, which tells every one, did not tell.

        A book is late by its interval: what it shows may be older than the newest best price.
        """
        silence = self._silences["quote"]
        if silence.since_ns is None or silence.heard_ns is None:
            return False
        return silence.since_ns - silence.heard_ns > _BOOK_LATE_NS
