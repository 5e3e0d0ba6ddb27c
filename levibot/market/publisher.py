"""What has been published of each symbol: numbers every message, and answers what the state is now."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from levibot.bus.codec import BAR, MARKET, TICK, frame
from levibot.bus.messages import (
    Bar,
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketGap,
    MarketSpec,
    Snapshot,
    SnapshotRequest,
    Tick,
)
from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.market.path import Item, Quote
from levibot.market.recording import Market
from levibot.market.source import Step

_GAPS_KEPT = 1_000


class Channel:
    """The two numbered streams of one symbol, and the state that they led to."""

    def __init__(self, symbol: str, epoch: int, capacity: int) -> None:
        self.symbol = symbol
        self.epoch = epoch
        self.tick_seq = 0
        self.seq = 0  # of bars and market events
        self.spec: MarketSpec
        self.bars: deque[Bar] = deque(maxlen=capacity)
        self.gaps: deque[MarketGap] = deque(maxlen=_GAPS_KEPT)
        self.last_tick: Tick | None = None

    def load(self, market: Market) -> None:
        """Take over a history that was never published; its bars have number 0."""
        self.spec = market.spec
        self.bars.clear()
        self.bars.extend(self.bar(candle, 0, 0, False) for candle in market.history)
        self.gaps.clear()
        self.gaps.extend(self.gap(hole, 0, False) for hole in market.holes)

    def tick(self, quote: Quote, now_ns: int, lockstep: bool) -> Tick:
        """The next tick."""
        self.tick_seq += 1
        self.last_tick = Tick(
            self.symbol,
            self.epoch,
            self.tick_seq,
            self.seq,
            quote.event_ms,
            now_ns,
            quote.bid,
            quote.ask,
            quote.last,
            quote.volume,
            lockstep,
        )
        return self.last_tick

    def bar(self, candle: Candle, seq: int, now_ns: int, lockstep: bool) -> Bar:
        """A closed bar under number `seq`."""
        open_ms, open_, high, low, close, volume, synthetic = candle
        return Bar(
            self.symbol, self.epoch, seq, open_ms, open_, high, low, close, volume, synthetic, now_ns, lockstep
        )

    def gap(self, hole: Hole, seq: int, lockstep: bool) -> MarketGap:
        """A hole under number `seq`."""
        return MarketGap(
            self.symbol, self.epoch, seq, hole.until_ms, hole.from_ms, hole.missing, hole.filled, lockstep
        )


class Publisher:
    """Publishes what happens to each symbol, in order and numbered.

    Parameters
    ----------
    epoch
        One value per start of the feed.
    send
        Sends one frame to all who subscribed.
    clock
        CLOCK_BOOTTIME in ns.
    capacity
        Closed bars kept of each symbol.
    lockstep
        Whether each message is to be acknowledged.
    """

    def __init__(
        self, epoch: int, send: Callable[[bytes], object], clock: Callable[[], int], capacity: int, lockstep: bool
    ) -> None:
        self.published = 0
        self.last_ns: int | None = None
        self._epoch = epoch
        self._send = send
        self._clock = clock
        self._capacity = capacity
        self._lockstep = lockstep
        self._channels: dict[str, Channel] = {}
        self._closed: dict[str, Channel] = {}  # their numbers go on if the symbol comes back
        self._step_frame = b""
        self._announcements: dict[str, bytes] = {}

    def open(self, symbol: str, market: Market, event_ms: int) -> None:
        """Begin with a symbol: its history becomes the state, and its stream is announced."""
        channel = self._closed.pop(symbol, None) or Channel(symbol, self._epoch, self._capacity)
        channel.load(market)
        self._channels[symbol] = channel
        channel.seq += 1
        announcement = MarketConnected(symbol, self._epoch, channel.seq, event_ms)
        self._announcements[symbol] = self._emit(MARKET, symbol, announcement)

    def close(self, symbol: str) -> None:
        """Forget the state of a symbol."""
        channel = self._channels.pop(symbol, None)
        if channel is not None:
            self._closed[symbol] = channel
            del self._announcements[symbol]

    def publish(self, symbol: str, event_ms: int, item: Item) -> Step:
        """Publish what happened to an open symbol at `event_ms`."""
        channel = self._channels[symbol]
        if isinstance(item, Quote):
            self._emit(TICK, symbol, channel.tick(item, self._clock(), self._lockstep))
            return Step(symbol, "tick", channel.tick_seq)
        channel.seq += 1
        if isinstance(item, Candle):
            bar = channel.bar(item, channel.seq, self._clock(), self._lockstep)
            channel.bars.append(bar)
            self._emit(BAR, symbol, bar)
            return Step(symbol, "bar", channel.seq)
        event: MarketEvent
        if isinstance(item, Hole):
            event = channel.gap(item, channel.seq, self._lockstep)
            channel.gaps.append(event)
        else:
            event = MarketEnded(symbol, self._epoch, channel.seq, event_ms, self._lockstep)
        self._emit(MARKET, symbol, event)
        return Step(symbol, "market", channel.seq)

    def repeat(self) -> None:
        """Send the last step once more, or before the first one the announcements of all symbols.

        Receivers know them by their numbers. Those who were not connected yet get them so.
        """
        for data in [self._step_frame] if self._step_frame else list(self._announcements.values()):
            self._send(data)

    def snapshot(self, request: SnapshotRequest) -> Snapshot | None:
        """State of a symbol after all that was published; None if it is not open."""
        channel = self._channels.get(request.symbol)
        if channel is None:
            return None
        bars = list(channel.bars)[-request.bars :] if request.bars > 0 else []
        first_ms = bars[0].open_ms if bars else 0
        return Snapshot(
            request.request_id,
            request.symbol,
            self._epoch,
            channel.seq,
            channel.spec,
            bars,
            [gap for gap in channel.gaps if gap.event_ms > first_ms],
            channel.last_tick,
        )

    def _emit(self, prefix: bytes, symbol: str, message: Tick | Bar | MarketEvent) -> bytes:
        data = frame(prefix, symbol, message)
        if message.lockstep:
            self._step_frame = data
        self._send(data)
        self.published += 1
        self.last_ns = self._clock()
        return data
