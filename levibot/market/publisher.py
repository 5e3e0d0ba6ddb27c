"""What has been published of each symbol: numbers every message, and answers what the state is now."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from levibot.bus.codec import BAR, BOOK, MARKET, TICK, TRADES, frame
from levibot.bus.messages import (
    Bar,
    BarCorrected,
    Book,
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketGap,
    MarketRecovered,
    MarketSpec,
    MarketStale,
    Snapshot,
    SnapshotRequest,
    SpecChanged,
    Tick,
    Trades,
)
from levibot.market.bars import Candle
from levibot.market.gaps import Hole
from levibot.market.path import (
    BookLevels,
    Correction,
    Ended,
    Item,
    NewSpec,
    Quote,
    Recovered,
    Stale,
    TradeBatch,
)
from levibot.market.recorder import FeedRecorder
from levibot.market.recording import Market
from levibot.market.source import Step
from levibot.market.states import ENDED_BECAUSE
from levibot.market.tape import Tape

_GAPS_KEPT = 1_000


class Channel:
    """The two numbered streams of one symbol, and the state that they led to."""

    def __init__(self, symbol: str, epoch: int, capacity: int) -> None:
        self.symbol = symbol
        self.epoch = epoch
        self.tick_seq = 0
        self.seq = 0  # of bars and market events
        self.trades_seq = 0
        self.book_seq = 0
        self.stale = ""  # why it is; empty if it is not
        self.spec: MarketSpec
        self.bars: deque[Bar] = deque(maxlen=capacity)
        self.gaps: deque[MarketGap] = deque(maxlen=_GAPS_KEPT)
        self.last_tick: Tick | None = None
        self.tape: Tape | None = None  # where it is recorded

    def load(self, market: Market) -> None:
        """Take over a history that was never published; its bars have number 0."""
        self.spec = market.spec
        self.stale = ""
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
            quote.received_ns or now_ns,
            quote.bid,
            quote.ask,
            quote.last,
            quote.volume,
            lockstep,
        )
        return self.last_tick

    def bar(self, candle: Candle, seq: int, now_ns: int, lockstep: bool) -> Bar:
        """A closed bar under number `seq`."""
        return Bar(self.symbol, self.epoch, seq, *candle[:7], now_ns, lockstep, *candle[7:])

    def gap(self, hole: Hole, seq: int, lockstep: bool) -> MarketGap:
        """A hole under number `seq`."""
        return MarketGap(
            self.symbol, self.epoch, seq, hole.until_ms, hole.from_ms, hole.missing, hole.filled, lockstep
        )

    def trades(self, batch: TradeBatch, now_ns: int) -> Trades:
        """The next trades."""
        self.trades_seq += 1
        return Trades(
            self.symbol,
            self.epoch,
            self.trades_seq,
            batch.event_ms,
            batch.received_ns or now_ns,
            list(batch.trades),
            batch.backfilled,
        )

    def book(self, levels: BookLevels, now_ns: int) -> Book:
        """The next order book."""
        self.book_seq += 1
        return Book(
            self.symbol,
            self.epoch,
            self.book_seq,
            levels.event_ms,
            levels.received_ns or now_ns,
            list(levels.bids),
            list(levels.asks),
        )

    def event(self, item: Hole | Stale | Recovered | Correction | NewSpec | Ended, lockstep: bool) -> MarketEvent:
        """A market event under the newest number; the state follows it."""
        if isinstance(item, Hole):
            gap = self.gap(item, self.seq, lockstep)
            self.gaps.append(gap)
            return gap
        head = self.symbol, self.epoch, self.seq, item.event_ms
        match item:
            case Stale(reason=reason):
                self.stale = reason
                return MarketStale(*head, reason, lockstep)
            case Recovered():
                self.stale = ""
                return MarketRecovered(*head, lockstep)
            case Correction(candle=candle):
                self._correct(candle)
                open_ms, open_, high, low, close, volume, synthetic, *flow = candle
                return BarCorrected(*head, open_ms, open_, high, low, close, volume, lockstep, synthetic, *flow)
            case NewSpec(spec=spec):
                self.spec = spec
                return SpecChanged(*head, spec, lockstep)
            case Ended():
                self.stale = ENDED_BECAUSE
                return MarketEnded(*head, lockstep)

    def _correct(self, candle: Candle) -> None:
        for index in range(len(self.bars) - 1, -1, -1):
            if self.bars[index].open_ms == candle.open_ms:
                self.bars[index] = self.bar(candle, self.bars[index].seq, self.bars[index].received_ns, False)
                return


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
    recorder
        Gets all that is published, too.
    """

    def __init__(
        self,
        epoch: int,
        send: Callable[[bytes], object],
        clock: Callable[[], int],
        capacity: int,
        lockstep: bool,
        recorder: FeedRecorder | None = None,
    ) -> None:
        self.published = 0
        self.last_ns: int | None = None
        self._epoch = epoch
        self._send = send
        self._clock = clock
        self._capacity = capacity
        self._lockstep = lockstep
        self._recorder = recorder
        self._channels: dict[str, Channel] = {}
        self._closed: dict[str, Channel] = {}  # their numbers go on if the symbol comes back
        self._step_frame = b""
        self._announcements: dict[str, bytes] = {}

    def open(self, symbol: str, market: Market, event_ms: int) -> None:
        """Begin with a symbol: its history becomes the state, and its stream is announced."""
        channel = self._closed.pop(symbol, None) or Channel(symbol, self._epoch, self._capacity)
        channel.load(market)
        self._channels[symbol] = channel
        if self._recorder is not None:
            channel.tape = self._recorder.tape(symbol)
            channel.tape.open(self._state(channel), event_ms)
        channel.seq += 1
        announcement = MarketConnected(symbol, self._epoch, channel.seq, event_ms)
        self._announcements[symbol] = self._emit(MARKET, channel, event_ms, announcement)

    def close(self, symbol: str) -> None:
        """Forget the state of a symbol."""
        channel = self._channels.pop(symbol, None)
        if channel is not None:
            self._closed[symbol] = channel
            del self._announcements[symbol]
            if channel.tape is not None:
                channel.tape.end()

    def publish(self, symbol: str, event_ms: int, item: Item) -> Step | None:
        """Publish what happened to an open symbol at `event_ms`; None: nobody acknowledges it."""
        channel = self._channels[symbol]
        if channel.tape is not None and channel.tape.wants_state(event_ms):
            channel.tape.renew(self._state(channel), event_ms)
        match item:
            case Quote():
                self._emit(TICK, channel, event_ms, channel.tick(item, self._clock(), self._lockstep))
                return Step(symbol, "tick", channel.tick_seq)
            case TradeBatch():
                self._emit(TRADES, channel, event_ms, channel.trades(item, self._clock()))
                return None
            case BookLevels():
                self._emit(BOOK, channel, event_ms, channel.book(item, self._clock()))
                return None
        channel.seq += 1
        if isinstance(item, Candle):
            bar = channel.bar(item, channel.seq, self._clock(), self._lockstep)
            channel.bars.append(bar)
            self._emit(BAR, channel, event_ms, bar)
            return Step(symbol, "bar", channel.seq)
        self._emit(MARKET, channel, event_ms, channel.event(item, self._lockstep))
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
        return None if channel is None else self._snapshot(request, channel)

    def _snapshot(self, request: SnapshotRequest, channel: Channel) -> Snapshot:
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
            channel.stale,
        )

    def _state(self, channel: Channel) -> Snapshot:
        return self._snapshot(SnapshotRequest(0, channel.symbol, self._capacity), channel)

    def _emit(
        self, prefix: bytes, channel: Channel, event_ms: int, message: Tick | Bar | MarketEvent | Trades | Book
    ) -> bytes:
        data = frame(prefix, channel.symbol, message)
        if not isinstance(message, Trades | Book) and message.lockstep:
            self._step_frame = data
        self._send(data)
        if channel.tape is not None:
            channel.tape.add(event_ms, data)
        self.published += 1
        self.last_ns = self._clock()
        return data
