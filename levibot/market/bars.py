"""One-minute bars: what a closed one says, and the one that is forming."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

MINUTE_MS = 60_000
_VOLUME_TOLERANCE = 1e-3  # between what an exchange counts, rounded, and the sum of its trades


class Candle(NamedTuple):
    """One bar as a source has it: no symbol, no sequence number yet.

    The last four fields, its flow, only a feed knows that saw the minute: NaN in what comes from files of
    candles, from the exchange's own bars, or from nowhere, as a synthetic bar does.
    """

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool = False
    buy_volume: float = math.nan  # base amount that takers bought
    trades: float = math.nan  # how many there were
    spread: float = math.nan  # (ask - bid) / middle, mean over the ticks that were published in the minute
    imbalance: float = math.nan  # as of `levibot.market.liquidity.imbalance`, mean over its published books

    @property
    def close_ms(self) -> int:
        """When the bar is closed: the opening time of the next."""
        return self.open_ms + MINUTE_MS

    def with_flow_of(self, seen: Candle) -> Candle:
        """The exchange's own bar with what was seen of its minute.

        Of trades nothing is known if not all of them were seen; a synthetic bar has no flow at all.
        """
        if self.synthetic:
            return self
        bought, trades = seen.buy_volume, seen.trades
        if not math.isclose(self.volume, seen.volume, rel_tol=_VOLUME_TOLERANCE):
            bought = trades = math.nan
        return self._replace(buy_volume=bought, trades=trades, spread=seen.spread, imbalance=seen.imbalance)


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
    @property
    def buy_volume(self) -> float: ...
    @property
    def trades(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def imbalance(self) -> float: ...


class BarBuilder:
    """The forming bar of one symbol, built from its trades as they come."""

    def __init__(self) -> None:
        self.late = 0  # trades of a minute that was closed already
        self._forming: Candle | None = None

    def add(self, event_ms: int, price: float, volume: float, bought: float) -> Candle | None:
        """Take one trade; return the bar that it closes, if it opens a later one.

        Parameters
        ----------
        event_ms
            Exchange time.
        price
            Paid.
        volume
            Base amount.
        bought
            The same if the taker bought, 0 if he sold, NaN if that is not told.
        """
        open_ms = event_ms - event_ms % MINUTE_MS
        bar = self._forming
        if bar is not None and open_ms < bar.open_ms:
            self.late += 1
            return None
        if bar is None or open_ms > bar.open_ms:
            self._forming = Candle(open_ms, price, price, price, price, volume, False, bought, 1.0)
            return bar
        self._forming = Candle(
            open_ms,
            bar.open,
            max(bar.high, price),
            min(bar.low, price),
            price,
            bar.volume + volume,
            False,
            bar.buy_volume + bought,
            bar.trades + 1,
        )
        return None
