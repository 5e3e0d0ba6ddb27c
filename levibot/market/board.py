"""Rules of many markets, and which of them are stale: for those who hear of events but keep no bars."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from levibot.bus.messages import (
    FeedReply,
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketRecovered,
    MarketSpec,
    MarketStale,
    Snapshot,
    SnapshotRequest,
    SpecChanged,
)
from levibot.market.states import ENDED_BECAUSE

_ASK_NS = 500_000_000
_ROUND = 10  # questions until each market has been asked about again: 5 s
_PATIENCE = 10  # questions without an answer, until a feed counts as absent
_ABSENT_NS = 5_000_000_000  # between two questions to an absent feed: what is sent waits for it


class _Market(NamedTuple):
    epoch: int
    seq: int
    spec: MarketSpec | None
    stale: str
    confirmed: bool  # by a snapshot of this epoch


class MarketBoard:
    """Follows events, begins with snapshots, and looks again from time to time for what was lost.

    An event and a snapshot carry the same numbers, so the later one counts whichever comes first.

    Parameters
    ----------
    changed
        Called with a symbol, its rules (None: not known yet), and why it is stale (empty: it is not), when
        one of them is new.
    history
        Closed bars to ask for with the first snapshot of a market in each life of the feed.
    """

    def __init__(self, changed: Callable[[str, MarketSpec | None, str], None], history: int = 0) -> None:
        self._changed = changed
        self._history = history
        self._markets: dict[str, _Market] = {}
        self._ask_at_ns = 0
        self._request_id = 0
        self._unanswered = 0
        self._turn = 0

    @property
    def symbols(self) -> set[str]:
        """Markets that were heard of."""
        return set(self._markets)

    def heed(self, event: MarketEvent) -> None:
        """Take an event in."""
        known = self._markets.get(event.symbol)
        if known is not None and (event.epoch, event.seq) <= (known.epoch, known.seq):
            return
        spec, stale = (known.spec, known.stale) if known is not None else (None, "")
        match event:
            case MarketStale(reason=reason):
                stale = reason
            case MarketEnded():
                stale = ENDED_BECAUSE
            case MarketRecovered() | MarketConnected():
                stale = ""
            case SpecChanged(spec=new):
                spec = new
        confirmed = known is not None and known.confirmed and known.epoch == event.epoch
        self._note(event.symbol, _Market(event.epoch, event.seq, spec, stale, confirmed))

    def learn(self, reply: FeedReply) -> None:
        """Take the feed's answer in; a snapshot that is older than an event is of no use any more."""
        self._unanswered = 0
        if not isinstance(reply, Snapshot):
            return
        known = self._markets.get(reply.symbol)
        if known is None or (reply.epoch, reply.seq) >= (known.epoch, known.seq):
            self._note(reply.symbol, _Market(reply.epoch, reply.seq, reply.spec, reply.stale, confirmed=True))

    def forget(self, symbol: str) -> None:
        """Its events are not received any more."""
        self._markets.pop(symbol, None)

    def ask(self, symbols: Collection[str], now_ns: int) -> list[SnapshotRequest]:
        """What to ask the feed now: about markets that no snapshot has told of, and a few others in turn."""
        if now_ns < self._ask_at_ns:
            return []
        self._ask_at_ns = now_ns + (_ASK_NS if self._unanswered < _PATIENCE else _ABSENT_NS)
        unsure = [symbol for symbol in sorted(symbols) if not self._is_confirmed(symbol)]
        sure = sorted(set(symbols) - set(unsure))
        due = sure[self._turn % _ROUND :: _ROUND]
        self._turn += 1
        self._unanswered += 1
        first = [self._request(symbol, self._history) for symbol in unsure]
        return first + [self._request(symbol, 0) for symbol in due]

    def _request(self, symbol: str, bars: int) -> SnapshotRequest:
        self._request_id += 1
        return SnapshotRequest(self._request_id, symbol, bars)

    def _is_confirmed(self, symbol: str) -> bool:
        return symbol in self._markets and self._markets[symbol].confirmed

    def _note(self, symbol: str, market: _Market) -> None:
        known = self._markets.get(symbol)
        self._markets[symbol] = market
        if known is None or (known.spec, known.stale) != (market.spec, market.stale):
            self._changed(symbol, market.spec, market.stale)
