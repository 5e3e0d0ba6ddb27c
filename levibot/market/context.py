"""The bars of the context symbol, as an engine of another symbol receives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from levibot.bus.codec import BAR, MARKET, FrameDecoder, topic
from levibot.bus.messages import Bar, BarCorrected, FeedReply, Reliable, SnapshotRefused, SnapshotRequest, Tick
from levibot.clock import boot_ns
from levibot.errors import MalformedMessageError
from levibot.market.stream import MarketStream, problem_with

_ASK_AGAIN_NS = 500_000_000  # no answer came
_REFUSED_NS = 5_000_000_000  # the feed has none: it may have some later


class ContextBar(NamedTuple):
    """A closed bar of the context symbol, or the right one of a minute that was seen before."""

    bar: Bar


class ContextStream:
    """Follows the bars of one symbol beside the engine's own.

    Without them nothing stops: what is missing stays missing until the feed has it.

    Parameters
    ----------
    symbol
        Canonical symbol.
    bars
        Closed bars to ask for.
    refuse
        Called with what was wrong with a message that could not be read.

    Attributes
    ----------
    topics
        What to subscribe to.
    """

    def __init__(self, symbol: str, bars: int, refuse: Callable[[str], None]) -> None:
        self.symbol = symbol
        self.topics = topic(BAR, symbol), topic(MARKET, symbol)
        self._bars = bars
        self._refuse = refuse
        self._stream = MarketStream()
        self._decode = FrameDecoder()
        self._request_id = 0
        self._ask_at_ns = 0
        self._answered = False

    @property
    def settled(self) -> bool:
        """Whether all bars that the feed has are here, as far as one can see."""
        return self._answered

    @property
    def due_ns(self) -> int | None:
        """When to send a request; None if none is needed."""
        return self._ask_at_ns if self._stream.waiting else None

    def request(self, now_ns: int) -> SnapshotRequest:
        """Ask for what was closed so far."""
        self._answered = False
        self._request_id = now_ns
        self._ask_at_ns = now_ns + _ASK_AGAIN_NS
        return SnapshotRequest(self._request_id, self.symbol, self._bars)

    def answer(self, reply: FeedReply) -> Iterator[ContextBar]:
        """Take the feed's answer."""
        if reply.request_id != self._request_id:
            return
        self._answered = True
        if isinstance(reply, SnapshotRefused):
            self._ask_at_ns = boot_ns() + _REFUSED_NS
            return
        later = self._stream.load(reply)
        self._note_hole()
        for message in (*reply.bars, *later):
            yield from context_bars(message)

    def owns(self, frame: bytes) -> bool:
        """Whether a frame is one of these."""
        return frame.startswith(self.topics)

    def take(self, frame: bytes) -> Iterator[ContextBar]:
        """Read a frame."""
        try:
            message = self._decode(frame)
        except MalformedMessageError as error:
            self._refuse(f"market data: {error}")
            return
        problem = problem_with(message, self.symbol)
        if problem or isinstance(message, Tick):
            self._refuse(f"market data: {problem or 'a tick under the topic of something else'}")
            return
        was_whole = not self._stream.waiting
        if self._stream.reliable(message):
            yield from context_bars(message)
        if was_whole:
            self._note_hole()

    def _note_hole(self) -> None:
        if self._stream.waiting:
            self._answered, self._ask_at_ns = False, 0


def context_bars(message: Reliable) -> Iterator[ContextBar]:
    """The bar that a message brings, if it brings one."""
    if isinstance(message, Bar):
        yield ContextBar(message)
    elif isinstance(message, BarCorrected):
        yield ContextBar(message.bar)
