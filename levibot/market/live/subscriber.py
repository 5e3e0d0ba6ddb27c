"""Who receives a symbol, and where its streams are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from levibot.market.live.backoff import Backoff
from levibot.market.live.lines import Line
from levibot.market.live.receiver import Receiver
from levibot.market.live.streams import SymbolStreams


class Subscriber:
    """One symbol.

    Parameters
    ----------
    symbol
        Canonical.
    receiver
        Gets what its streams bring. A mistake in it is reported, and concerns no other symbol.
    """

    def __init__(self, symbol: str, receiver: Receiver) -> None:
        self.symbol = symbol
        self.receiver = receiver
        self.backoff = Backoff()
        self.line: Line | None = None
        self.streams: SymbolStreams | None = None
        self.told_lost = False

    def carry(self, line: Line, streams: SymbolStreams) -> None:
        """Its streams are these now."""
        self.line, self.streams = line, streams

    def lose(self, reason: str) -> None:
        """Tell, once until it is restored; after that only why it is lost still."""
        if self.told_lost:
            _tell(self.receiver.on_still_lost, reason)
        else:
            self.told_lost = True
            _tell(self.receiver.on_lost, reason)

    def restore(self) -> None:
        """All its streams are subscribed."""
        self.backoff.succeeded()
        self.told_lost = False
        _tell(self.receiver.on_restored)

    def complain(self, reason: str) -> None:
        """Tell of what could not be used."""
        _tell(self.receiver.on_malformed, reason)


def _tell(receive: Callable[..., None], *args: str) -> None:
    try:
        receive(*args)
    except Exception as error:  # noqa: BLE001  # ours: it counts as one
        context = {"message": "a receiver of market data failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
