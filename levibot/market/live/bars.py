"""The bars of one symbol, from its trades or from the exchange: in order, each once, none left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from levibot.exchange.validation import PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole, flagged, hole_between, synthetic_bar, synthetic_bars
from levibot.market.liquidity import Liquidity

_KEPT = 60  # published bars that can still be compared
_PRICE_TOLERANCE = 1e-9  # of floats that come from the same decimals
_VOLUME_TOLERANCE = 1e-6  # of sums of them
_SETTLED_MS = 2 * MINUTE_MS  # after its beginning: a bar that an exchange does not tell by then is not only late
_CLEARLY = 1e-3  # so much more volume is no rounding of the exchange's


class Minute:
    """The trades of one minute, in whatever order they come."""

    __slots__ = ("_first", "_last", "bought", "close", "high", "low", "open", "trades", "volume")

    def __init__(self, trade: PublicTrade, order: tuple[int, int]) -> None:
        self.open = self.high = self.low = self.close = trade.price
        self.volume = trade.amount
        self.bought = _bought(trade)
        self.trades = 1
        self._first = self._last = order

    def add(self, trade: PublicTrade, order: tuple[int, int]) -> None:
        """Take one more in; `order` is its place among the exchange's trades."""
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        self.volume += trade.amount
        self.bought += _bought(trade)
        self.trades += 1
        if order < self._first:
            self.open, self._first = trade.price, order
        elif order > self._last:
            self.close, self._last = trade.price, order

    def candle(self, open_ms: int, spread: float, imbalance: float) -> Candle:
        """The bar that they make, with what books and quotes tell of the minute."""
        return Candle(
            open_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            False,
            self.bought,
            float(self.trades),
            spread,
            imbalance,
        )


class BarTape:
    """Makes the bars that follow a history, and remembers the newest to compare them with the exchange's.

    Parameters
    ----------
    max_gap_minutes
        A longer stretch that the exchange lacks is not filled.
    liquidity
        Of the same symbol.
    """

    def __init__(self, max_gap_minutes: int, liquidity: Liquidity) -> None:
        self.next_ms: int | None = None  # opening time of the bar that comes next; None before `begin`
        self.last_close: float | None = None
        self.corrections = 0
        self.backfilled = 0
        self.synthetic = 0
        self.missed = 0  # bars that held trades which never came
        self._max_gap_minutes = max_gap_minutes
        self._liquidity = liquidity
        self._minutes: dict[int, Minute] = {}
        self._published: dict[int, Candle] = {}  # the newest, by opening time, oldest first
        self._unchecked: dict[int, bool] = {}  # those not compared yet; whether made from trades
        self._arrivals = 0

    def begin(self, history: Sequence[Candle], now_ms: int) -> None:
        """The next bar follows `history`, or is the one that forms at `now_ms` if there is none."""
        if history:
            self.next_ms, self.last_close = history[-1].close_ms, history[-1].close
        else:
            self.next_ms = now_ms // MINUTE_MS * MINUTE_MS

    def add(self, trade: PublicTrade) -> None:
        """Take a trade that was not taken before."""
        open_ms = trade.event_ms // MINUTE_MS * MINUTE_MS
        self._arrivals += 1
        number = int(trade.id) if trade.id and trade.id.isascii() and trade.id.isdigit() else self._arrivals
        order = trade.event_ms, number
        minute = self._minutes.get(open_ms)
        if minute is not None:
            minute.add(trade, order)
        elif self.next_ms is None or open_ms >= self.next_ms or open_ms in self._unchecked:
            self._minutes[open_ms] = Minute(trade, order)
        if open_ms in self._published:  # what it was compared with may have lacked this trade too
            self._unchecked.setdefault(open_ms, False)

    def volume(self, open_ms: int) -> float:
        """Base amount of the trades of a minute that came so far."""
        minute = self._minutes.get(open_ms)
        return minute.volume if minute else 0.0

    def close_due(self, until_ms: int, is_whole: Callable[[int], bool]) -> Iterator[Candle]:
        """Close the minutes that end up to `until_ms`, as far as each is whole."""
        while self.next_ms is not None and self.next_ms + MINUTE_MS <= until_ms and is_whole(self.next_ms):
            minute = self._minutes.get(self.next_ms)
            if minute is not None:
                bar = minute.candle(self.next_ms, *self._liquidity.of(self.next_ms))
                yield self._publish(bar, from_trades=True)
            elif self.last_close is not None:
                yield self._publish(synthetic_bar(self.next_ms, self.last_close), from_trades=True)
            else:
                self.next_ms += MINUTE_MS  # nothing was ever traded: there is no price for a bar

    def fill(self, candles: Sequence[Candle], until_ms: int) -> Iterator[Candle | Hole]:
        """Take the exchange's own bars from the next one up to `until_ms`; those that it lacks are made up.

        Yields
        ------
        Candle or Hole
            What is to be published. A hole is in front of the bars that fill it.
        """
        for candle in candles:
            if self.next_ms is None or not self.next_ms <= candle.open_ms < until_ms:
                continue
            yield from self._bridge(candle.open_ms)
            self.backfilled += 1
            is_new = candle.close_ms == until_ms  # the exchange may still add to it
            yield self._publish(flagged(candle), from_trades=False if is_new else None)
        if self.next_ms is not None and self.next_ms < until_ms:
            yield from self._bridge(until_ms)

    @property
    def unchecked_ms(self) -> int | None:
        """Opening time of the oldest published bar that was not compared with what the exchange has for good."""
        return min(self._unchecked, default=None)

    def check(self, candles: Sequence[Candle], until_ms: int) -> Iterator[Candle]:
        """Compare what was published before `until_ms` with the exchange's own bars.

        Yields
        ------
        Candle
            What is to be published instead, with what was seen of the minute: the exchange's own bar does not
            tell it.
        """
        own = {candle.open_ms: flagged(candle) for candle in candles if candle.open_ms < until_ms}
        before: float | None = None  # close of the bar before
        follows = False  # whether that one has just been corrected
        for open_ms, published in list(self._published.items()):
            from_trades = self._unchecked.get(open_ms)
            truth = own.get(open_ms, published)
            is_settled = open_ms + _SETTLED_MS <= until_ms
            if open_ms in own and (is_settled or not from_trades or not self._lacks_trades(truth)):
                self._unchecked.pop(open_ms, None)
            elif open_ms in own:
                truth = published
            elif published.synthetic and open_ms < until_ms and (follows or from_trades is not None):
                if is_settled:  # many exchanges have no bar of a minute without trades
                    self._unchecked.pop(open_ms, None)
                truth = published if before is None else synthetic_bar(open_ms, before)
            follows = not _same(published, truth)
            if follows:
                self.corrections += 1
                self.missed += bool(from_trades) and truth.volume > self.volume(open_ms) * (1 + _CLEARLY)
                self._published[open_ms] = truth = truth.with_flow_of(self._seen(published))
                yield truth
            before = truth.close
        if before is not None:
            self.last_close = before

    def _lacks_trades(self, own: Candle) -> bool:
        """Whether the exchange's own bar does not hold yet what its trades add up to."""
        return own.volume < self.volume(own.open_ms) * (1 - _CLEARLY)

    def _seen(self, published: Candle) -> Candle:
        """What is known now of a minute that was made from its trades: late ones are part of it."""
        minute = self._minutes.get(published.open_ms)
        return published if minute is None else minute.candle(published.open_ms, *published[-2:])

    def _bridge(self, until_ms: int) -> Iterator[Candle | Hole]:
        """Make up what the exchange lacks before `until_ms`."""
        assert self.next_ms is not None
        if until_ms <= self.next_ms:
            return
        if self.last_close is None:
            self.next_ms = until_ms  # nothing came before it: no hole
            return
        price = self.last_close
        last = Candle(self.next_ms - MINUTE_MS, price, price, price, price, 0.0)
        hole = hole_between(last, last._replace(open_ms=until_ms), self._max_gap_minutes)
        assert hole is not None
        yield hole
        for bar in synthetic_bars(last, hole):
            yield self._publish(bar, from_trades=False)
        self.next_ms = until_ms

    def _publish(self, candle: Candle, *, from_trades: bool | None = None) -> Candle:
        """Note a bar that is published; `from_trades` is None if it need not be compared."""
        self.next_ms, self.last_close = candle.close_ms, candle.close
        self.synthetic += candle.synthetic
        self._published[candle.open_ms] = candle
        if from_trades is not None:
            self._unchecked[candle.open_ms] = from_trades
        if len(self._published) > _KEPT:
            oldest = next(iter(self._published))
            del self._published[oldest]
            self._unchecked.pop(oldest, None)
        kept_ms = next(iter(self._published))
        for open_ms in [at for at in self._minutes if at < kept_ms]:
            del self._minutes[open_ms]
        return candle


def _bought(trade: PublicTrade) -> float:
    if trade.side is None:
        return math.nan  # and so is the sum
    return trade.amount if trade.side == "buy" else 0.0


def _same(ours: Candle, theirs: Candle) -> bool:
    prices = zip(ours[1:5], theirs[1:5], strict=True)
    return all(math.isclose(a, b, rel_tol=_PRICE_TOLERANCE) for a, b in prices) and math.isclose(
        ours.volume, theirs.volume, rel_tol=_VOLUME_TOLERANCE, abs_tol=1e-12
    )
