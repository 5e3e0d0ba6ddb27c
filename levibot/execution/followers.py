"""Who is told of order events: the engine of each symbol, and who follows the account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from levibot.bus.messages import BrokerReply, OrderEvent, OrderEvents
from levibot.spec import engine_name

Send = Callable[[bytes, BrokerReply], bool]


class Followers:
    """Sends events to whom they concern, and forgets who is gone.

    Parameters
    ----------
    send
        Sends a reply to an identity; False if there is no such peer.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._of_account: set[bytes] = set()
        self._of_symbol: dict[bytes, str] = {}

    def follow(self, identity: bytes, symbol: str) -> None:
        """Tell `identity` of the events of a symbol from now on."""
        self._of_symbol[identity] = symbol

    def follow_account(self, identity: bytes) -> None:
        """Tell `identity` of all events from now on."""
        self._of_account.add(identity)

    def tell(self, events: list[OrderEvent]) -> None:
        """Send what has happened, in order."""
        by_symbol: defaultdict[str, list[OrderEvent]] = defaultdict(list)
        for event in events:
            by_symbol[event.symbol].append(event)
        by_symbol.pop("", None)  # of the account, no engine's
        for symbol, own in by_symbol.items():
            # By its name, an engine that was there before this broker started gets its events too.
            followers = {engine_name(symbol).encode()}
            followers.update(identity for identity, followed in self._of_symbol.items() if followed == symbol)
            for identity in followers:
                if not self._send(identity, OrderEvents(own)):
                    self._of_symbol.pop(identity, None)
        for identity in list(self._of_account):
            if not self._send(identity, OrderEvents(events)):
                self._of_account.discard(identity)
