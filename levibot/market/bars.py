"""One-minute bars: the ring of closed ones, and the one that is forming."""

from __future__ import annotations

from array import array
from enum import Enum
from typing import NamedTuple, Protocol

MINUTE_MS = 60_000


class Candle(NamedTuple):
    """One bar as a source has it: no symbol, no sequence number yet."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool = False

    @property
    def close_ms(self) -> int:
        """When the bar is closed: the opening time of the next."""
        return self.open_ms + MINUTE_MS


class Ohlcv(Protocol):
    """What a closed bar has, be it a `Candle` or a `Bar` of the bus."""

    @property
    def open_ms(self) -> int: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def synthetic(self) -> bool: ...


class Appended(Enum):
    """What `BarSeries.append` found."""

    KNOWN = "known"  # not later than the newest bar: skipped
    NEXT = "next"  # the first bar, or the minute after the newest
    JUMP = "jump"  # later than that: minutes are missing; appended all the same


class BarSeries:
    """Closed bars of one symbol, the newest `capacity` of them.

    Columns are kept apart in flat arrays: 1 500 bars take 73 kB, and the last n closes are one slice.

    Parameters
    ----------
    capacity
        Bars kept.
    """

    def __init__(self, capacity: int = 1500) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.appended = 0  # ever, so that an indicator can tell how many are new
        self._open_ms = array("q")
        self._open = array("d")
        self._high = array("d")
        self._low = array("d")
        self._close = array("d")
        self._volume = array("d")
        self._synthetic = array("b")

    def __len__(self) -> int:
        return min(len(self._open_ms), self.capacity)

    def append(self, bar: Ohlcv) -> Appended:
        """Add a closed bar unless it is known already; tell which of the two, and whether it jumps."""
        result = Appended.NEXT
        if self._open_ms:
            newest = self._open_ms[-1]
            if bar.open_ms <= newest:
                return Appended.KNOWN
            if bar.open_ms != newest + MINUTE_MS:
                result = Appended.JUMP
        self._open_ms.append(bar.open_ms)
        self._open.append(bar.open)
        self._high.append(bar.high)
        self._low.append(bar.low)
        self._close.append(bar.close)
        self._volume.append(bar.volume)
        self._synthetic.append(bar.synthetic)
        self.appended += 1
        if len(self._open_ms) >= 2 * self.capacity:
            self._forget()
        return result

    def clear(self) -> None:
        """Forget all bars."""
        for column in self._columns():
            del column[:]

    @property
    def last_ms(self) -> int | None:
        """Opening time of the newest bar."""
        return self._open_ms[-1] if self._open_ms else None

    @property
    def last_close(self) -> float | None:
        """Close of the newest bar."""
        return self._close[-1] if self._close else None

    def __getitem__(self, index: int) -> Candle:
        """Bar by position: 0 is the oldest kept, -1 the newest."""
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"bar {index} of {size}")
        at = index if index < 0 else index - size
        return Candle(
            self._open_ms[at],
            self._open[at],
            self._high[at],
            self._low[at],
            self._close[at],
            self._volume[at],
            bool(self._synthetic[at]),
        )

    def opening_times(self, count: int | None = None) -> array[int]:
        """Opening times of the newest `count` bars (all by default), oldest first."""
        return self._open_ms[self._first(count) :]

    def opens(self, count: int | None = None) -> array[float]:
        """Opening prices of the newest `count` bars (all by default), oldest first."""
        return self._open[self._first(count) :]

    def highs(self, count: int | None = None) -> array[float]:
        """Highs of the newest `count` bars (all by default), oldest first."""
        return self._high[self._first(count) :]

    def lows(self, count: int | None = None) -> array[float]:
        """Lows of the newest `count` bars (all by default), oldest first."""
        return self._low[self._first(count) :]

    def closes(self, count: int | None = None) -> array[float]:
        """Closes of the newest `count` bars (all by default), oldest first."""
        return self._close[self._first(count) :]

    def volumes(self, count: int | None = None) -> array[float]:
        """Base volumes of the newest `count` bars (all by default), oldest first."""
        return self._volume[self._first(count) :]

    def _first(self, count: int | None) -> int:
        size = len(self)
        return len(self._open_ms) - (size if count is None else max(0, min(count, size)))

    def _columns(self) -> tuple[array[int] | array[float], ...]:
        return (
            self._open_ms,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume,
            self._synthetic,
        )

    def _forget(self) -> None:
        for column in self._columns():
            del column[: -self.capacity]


class BarBuilder:
    """The forming bar of one symbol, built from ticks or trades."""

    def __init__(self) -> None:
        self.late = 0  # ticks of a minute that was closed already
        self._closed_until = 0
        self._forming: Candle | None = None

    @property
    def forming(self) -> Candle | None:
        """The bar so far, or None before its first tick."""
        return self._forming

    def add(self, event_ms: int, price: float, volume: float = 0.0) -> Candle | None:
        """Take one tick or trade; return the bar that it closes, if it opens a later one.

        Parameters
        ----------
        event_ms
            Exchange time.
        price
            Last price.
        volume
            Base amount traded with it.
        """
        open_ms = event_ms - event_ms % MINUTE_MS
        bar = self._forming
        if open_ms < self._closed_until or (bar is not None and open_ms < bar.open_ms):
            self.late += 1
            return None
        if bar is None or open_ms > bar.open_ms:
            self._forming = Candle(open_ms, price, price, price, price, volume)
            return bar
        self._forming = Candle(
            open_ms, bar.open, max(bar.high, price), min(bar.low, price), price, bar.volume + volume
        )
        return None

    def close(self, open_ms: int) -> None:
        """The source has closed this bar itself: drop what is no later, and ticks of it from now on."""
        self._closed_until = max(self._closed_until, open_ms + MINUTE_MS)
        if self._forming is not None and self._forming.open_ms <= open_ms:
            self._forming = None
