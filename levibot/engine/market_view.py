"""What the decision core knows of the market, and whether that is good enough to open a position on."""

from __future__ import annotations

from levibot.bus.messages import (
    Bar,
    BarCorrected,
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketGap,
    MarketRecovered,
    MarketSpec,
    MarketStale,
    Side,
    SpecChanged,
    Tick,
)
from levibot.engine.digests import Digests
from levibot.engine.inputs import HistoryLoaded
from levibot.engine.volatility import BAR_MS, Volatility
from levibot.market.states import ENDED_BECAUSE


class MarketView:
    """Newest prices and the state of the data behind them.

    Parameters
    ----------
    max_age
        Seconds after which market data is too old to open a position on.
    warm_up_bars
        Closed bars without a hole that are needed before a signal counts.
    """

    def __init__(self, max_age: float, warm_up_bars: int) -> None:
        self.spec: MarketSpec | None = None
        self.volatility = Volatility()
        self.bar_ms = 0  # opening time of the newest closed bar
        self.event_ms = 0
        self.newest: Tick | None = None
        self.corrections = 0
        self._max_age_ns = int(max_age * 1e9)
        self._warm_up_bars = warm_up_bars
        self._bars_without_hole = 0
        self._synthetic = False
        self._received_ns = 0
        self._seen = Digests()
        self._hole = ""
        self._stale = ""
        self._bid = self._ask = self._last = 0.0

    def load(self, history: HistoryLoaded) -> tuple[list[Bar], list[Bar]]:
        """Take a snapshot in.

        Returns
        -------
        corrected, new : list of Bar
            Those that differ from what was known of their minutes: the correction itself was lost. And those
            that were not known.
        """
        self.spec = history.spec
        self._hole = ""
        self._stale = _stale_because(history.stale)
        known_ms = self.bar_ms
        corrected = [b for b in history.bars if b.open_ms <= known_ms and self._seen.differs(b, known_ms)]
        new = [bar for bar in history.bars if bar.open_ms > known_ms]
        for bar in corrected:
            self._correct(bar)
        for bar in new:
            self._count(bar)
        if history.last_tick is not None:
            self.tick(history.last_tick, history.now_ns)
        return corrected, new

    def add(self, bar: Bar, now_ns: int) -> bool:
        """Take a closed bar in; False if it was known."""
        if bar.open_ms <= self.bar_ms:
            return False
        self._count(bar)
        self._received_ns = max(self._received_ns, bar.received_ns or now_ns)
        return True

    def tick(self, tick: Tick, now_ns: int) -> None:
        """Take a tick in."""
        self._bid, self._ask, self._last = tick.bid, tick.ask, tick.last
        self.newest = tick
        self.event_ms = max(self.event_ms, tick.event_ms)
        self._received_ns = max(self._received_ns, tick.received_ns or now_ns)

    def change(self, event: MarketEvent) -> None:
        """Take a market event in."""
        self.event_ms = max(self.event_ms, event.event_ms)
        match event:
            case MarketStale():
                self._stale = _stale_because(event.reason)
            case MarketEnded():
                self._stale = _stale_because(ENDED_BECAUSE)
            case MarketRecovered() | MarketConnected():
                self._stale = ""
            case MarketGap(filled=False):
                self._bars_without_hole = 0  # what comes after it must warm the strategy up again
            case BarCorrected(bar=bar):
                self._correct(bar)
            case SpecChanged(spec=spec):
                self.spec = spec

    def lose(self, reason: str) -> None:
        """Bars or events were lost: nothing is opened until the next snapshot."""
        self._hole = reason

    @property
    def warm(self) -> bool:
        """Whether enough bars without a hole have been seen."""
        return self._bars_without_hole >= self._warm_up_bars

    def follows(self, bar_ms: int) -> bool:
        """Whether a bar is the newest, or the one before it, in a market without a hole or a standstill since."""
        return self.warm and not (self._hole or self._stale) and self.bar_ms - bar_ms <= BAR_MS

    @property
    def mark(self) -> float | None:
        """Newest price."""
        return self._last or None

    def price_to(self, side: Side) -> float:
        """Price at which `side` would trade now; 0 before the first bar."""
        return self._ask if side == "buy" else self._bid

    def unfit(self, now_ns: int) -> str:
        """Why no position may be opened on this data; empty if one may."""
        if self.spec is None or self._hole:
            return self._hole or "no history yet"
        if not self.spec.active:
            return "market is not active"
        if self._stale:
            return self._stale
        if not self._last:
            return "no price yet"
        if not self.warm:
            return f"{self._bars_without_hole} of {self._warm_up_bars} bars since the last hole"
        if self._synthetic:
            return "newest bar is synthetic"
        if now_ns - self._received_ns > self._max_age_ns:
            return "market data is too old"
        return ""

    def _count(self, bar: Bar) -> None:
        contiguous = not self.bar_ms or bar.open_ms - self.bar_ms == BAR_MS
        self._bars_without_hole = self._bars_without_hole + 1 if contiguous else 1
        self._synthetic = bar.synthetic
        self.bar_ms = bar.open_ms
        self._price(bar)
        self.event_ms = max(self.event_ms, bar.open_ms + BAR_MS)
        self.volatility.add(bar)
        self._seen.note(bar)

    def _correct(self, bar: Bar) -> None:
        self.corrections += 1
        self._seen.note(bar)
        self.volatility.correct(bar)
        if bar.open_ms == self.bar_ms:
            self._synthetic = bar.synthetic
            self._price(bar)

    def _price(self, bar: Bar) -> None:
        if self.newest is None or self.newest.event_ms < bar.open_ms + BAR_MS:  # no tick is newer
            self._bid = self._ask = self._last = bar.close


def _stale_because(reason: str) -> str:
    return f"market is stale: {reason}" if reason else ""
