"""How long frames take from their receipt to the end of what follows from them in the feed."""

from __future__ import annotations

from collections.abc import Sequence

from levibot.clock import boot_ns
from levibot.exchange.validation import BookSnapshot, PublicTrade
from levibot.market.live.receiver import Receiver
from levibot.observability.histogram import Histogram


class MeteredReceiver:
    """Passes everything on, and measures.

    Parameters
    ----------
    receiver
        Gets what comes.
    histogram
        Counts the durations.
    """

    def __init__(self, receiver: Receiver, histogram: Histogram) -> None:
        self._receiver = receiver
        self._histogram = histogram

    def on_trades(self, trades: Sequence[PublicTrade], received_ns: int) -> None:
        """See `Receiver`."""
        self._receiver.on_trades(trades, received_ns)
        self._observe(received_ns)

    def on_quote(self, bid: float, ask: float, event_ms: int | None, received_ns: int) -> None:
        """See `Receiver`."""
        self._receiver.on_quote(bid, ask, event_ms, received_ns)
        self._observe(received_ns)

    def on_book(self, book: BookSnapshot, received_ns: int) -> None:
        """See `Receiver`."""
        self._receiver.on_book(book, received_ns)
        self._observe(received_ns)

    def on_malformed(self, reason: str) -> None:
        """See `Receiver`."""
        self._receiver.on_malformed(reason)

    def on_lost(self, reason: str) -> None:
        """See `Receiver`."""
        self._receiver.on_lost(reason)

    def on_still_lost(self, reason: str) -> None:
        """See `Receiver`."""
        self._receiver.on_still_lost(reason)

    def on_restored(self) -> None:
        """See `Receiver`."""
        self._receiver.on_restored()

    def _observe(self, received_ns: int) -> None:
        self._histogram.observe((boot_ns() - received_ns) / 1e9)
