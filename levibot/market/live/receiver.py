"""Who gets what the streams of one symbol bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from levibot.exchange.validation import BookSnapshot, PublicTrade


class Receiver(Protocol):
    """One symbol, as its streams see it. Calls come from the event loop and return at once.

    All `received_ns` are CLOCK_BOOTTIME when the frame entered this machine.
    """

    def on_trades(self, trades: Sequence[PublicTrade], received_ns: int) -> None:
        """The trades of one frame, in its order; some may have come before."""
        ...

    def on_quote(self, bid: float, ask: float, event_ms: int | None, received_ns: int) -> None:
        """Best bid and ask, from the stream that carries them; checked to be numbers, not to make sense."""
        ...

    def on_book(self, book: BookSnapshot, received_ns: int) -> None:
        """The order book after one or more updates: at most 50 levels a side, sorted, not crossed."""
        ...

    def on_malformed(self, reason: str) -> None:
        """Something came that cannot be used; its stream is begun anew."""
        ...

    def on_lost(self, reason: str) -> None:
        """The streams are interrupted, or cannot be trusted: from now on something may be missing."""
        ...

    def on_still_lost(self, reason: str) -> None:
        """They could not be begun again, for this reason; told between `on_lost` and `on_restored`."""
        ...

    def on_restored(self) -> None:
        """The streams are subscribed again on an open connection; what came before this has a gap behind it."""
        ...
