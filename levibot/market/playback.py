"""Playing recordings back: all symbols in one order of event time, paced by the wall clock."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Container, Iterator, Sequence

from levibot.clock import boot_ns
from levibot.market.path import Ended, Item, TimedItem
from levibot.market.recording import Market, Opening, Recording
from levibot.market.source import LockstepMessage, Publish

Over = Callable[[str, int], None]

_LONGEST_STEP_NS = 1_000_000_000  # of a stall or a suspend, no more than this is made up for
_LEAST_PAUSE = 0.002  # seconds; bounds how often the loop wakes, whatever the number of symbols
_LONGEST_PAUSE = 0.05  # so that a symbol begun meanwhile is soon noticed
_BATCH = 500  # events published before others have their turn


class MarketClock:
    """Event time that passes `speed` times as fast as the wall clock; it stands still while the feed is down.

    Parameters
    ----------
    position_ms
        Event time at which it begins.
    speed
        Market seconds for each second.
    """

    def __init__(self, position_ms: int, speed: float) -> None:
        self._position_ms = float(position_ms)
        self._speed = speed
        self._read_ns: int | None = None

    def advance(self, now_ns: int) -> int:
        """Event time at `now_ns`."""
        if self._read_ns is not None:
            self._position_ms += min(now_ns - self._read_ns, _LONGEST_STEP_NS) / 1e6 * self._speed
        self._read_ns = now_ns
        return int(self._position_ms)

    def seconds_until(self, event_ms: int) -> float:
        """Wall seconds from the last `advance` to `event_ms`."""
        return (event_ms - self._position_ms) / 1000 / self._speed


class Timeline:
    """The streams of all symbols merged: by event time, then alphabetically; each stream keeps its order.

    Parameters
    ----------
    last
        Symbol that comes after all others of its time; empty: none.
    """

    def __init__(self, last: str = "") -> None:
        self._last = last
        self._heap: list[tuple[int, bool, str, int]] = []
        self._streams: dict[str, tuple[int, Iterator[TimedItem]]] = {}
        self._items: dict[str, Item] = {}
        self._serial = 0  # tells a symbol's stream from one that was closed before

    def add(self, symbol: str, stream: Iterator[TimedItem]) -> None:
        """Merge in a stream, in place of the symbol's former one."""
        self._serial += 1
        self._streams[symbol] = self._serial, stream
        self._fetch(symbol, self._serial, stream)

    def remove(self, symbol: str) -> None:
        """Leave out a symbol."""
        self._streams.pop(symbol, None)
        self._items.pop(symbol, None)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def next_ms(self) -> int | None:
        """Event time of what comes next; None if nothing does."""
        while self._heap:
            event_ms, _, symbol, serial = self._heap[0]
            if self._streams.get(symbol, (0,))[0] == serial:
                return event_ms
            heapq.heappop(self._heap)
        return None

    def pop(self) -> tuple[int, str, Item]:
        """Take what comes next. `next_ms` must not be None."""
        event_ms, _, symbol, serial = heapq.heappop(self._heap)
        item = self._items.pop(symbol)
        self._fetch(symbol, serial, self._streams[symbol][1])
        return event_ms, symbol, item

    def _fetch(self, symbol: str, serial: int, stream: Iterator[TimedItem]) -> None:
        following = next(stream, None)
        if following is None:
            del self._streams[symbol]
        else:
            event_ms, self._items[symbol] = following
            heapq.heappush(self._heap, (event_ms, symbol == self._last, symbol, serial))


class Playback:
    """A recording as a `Source`, paced by the wall clock: one timer for all symbols.

    Parameters
    ----------
    recording
        What is played.
    symbols
        Those that the default begin is chosen for.
    opening
        How markets are opened; `from_ms` is not used.
    position_ms
        Event time to go on from; None: where the recording begins.
    speed
        Market seconds for each second.
    over
        Called with each symbol whose recording has come to its end, and when that was in event time.
    watched
        Symbols that nobody trades: the end of the others is the end of all.
    context
        Symbol whose bars all engines hear: its bar of a minute, which counts from the next one on, comes after the
        others, so that nobody is woken by it who has his own bar to wait for. Empty: none.
    """

    opens_at_once = 1  # reading files in several threads is no faster

    def __init__(
        self,
        recording: Recording,
        symbols: Sequence[str],
        opening: Opening,
        position_ms: int | None,
        speed: float,
        over: Over,
        watched: Container[str] = (),
        context: str = "",
    ) -> None:
        self.disclosure = recording.disclosure
        self._recording = recording
        self._symbols = symbols
        self._opening = opening
        self._position_ms = position_ms
        self._speed = speed
        self._tell_end = over
        self._watched = watched
        self._open: set[str] = set()
        self._over: set[str] = set()
        self.timeline = Timeline(context)

    @property
    def position_ms(self) -> int | None:
        """Event time up to which everything has been published; None before the first symbol."""
        return self._position_ms

    @property
    def ended(self) -> bool:
        """Whether all symbols that are traded have come to their end."""
        return bool(self._traded) and self._over.issuperset(self._traded)

    async def open(self, symbol: str) -> Market:
        """Open a market at the present event time, in a thread: reading files may take long."""
        if self._position_ms is None:
            begin = await asyncio.to_thread(self._recording.begin_ms, self._symbols)
            if self._position_ms is None:
                self._position_ms = begin
        opening = self._opening._replace(from_ms=self._position_ms or 0)
        return await asyncio.to_thread(self._recording.open, symbol, opening)

    def begin(self, symbol: str, market: Market) -> None:
        """Publish from now on what happens after `market.history`."""
        self._open.add(symbol)
        self._over.discard(symbol)
        self.timeline.add(symbol, market.stream)

    def close(self, symbol: str) -> None:
        """Publish nothing more of `symbol`."""
        self._open.discard(symbol)
        self._over.discard(symbol)
        self.timeline.remove(symbol)

    async def run(self, publish: Publish) -> None:
        """Publish each event when its time has come, until cancelled."""
        while self._position_ms is None:
            await asyncio.sleep(_LONGEST_PAUSE)
        clock = MarketClock(self._position_ms, self._speed)
        while True:
            now_ms = clock.advance(boot_ns())
            await self._publish_until(now_ms, publish)
            self._position_ms = now_ms
            next_ms = self.timeline.next_ms
            pause = _LONGEST_PAUSE if next_ms is None else clock.seconds_until(next_ms)
            await asyncio.sleep(min(max(pause, _LEAST_PAUSE), _LONGEST_PAUSE))

    def heed(self, message: LockstepMessage) -> None:
        """Nothing waits for acknowledgements here."""

    async def stop(self) -> None:
        """Nothing is open here."""

    @property
    def _traded(self) -> list[str]:
        return sorted(symbol for symbol in self._open if symbol not in self._watched)

    def _note(self, symbol: str, item: Item) -> None:
        if isinstance(item, Ended):
            self._over.add(symbol)
            self._tell_end(symbol, item.event_ms)

    async def _publish_until(self, now_ms: int, publish: Publish) -> None:
        published = 0
        while (next_ms := self.timeline.next_ms) is not None and next_ms <= now_ms:
            event_ms, symbol, item = self.timeline.pop()
            publish(symbol, event_ms, item)
            self._note(symbol, item)
            published += 1
            if published % _BATCH == 0:
                await asyncio.sleep(0)
