"""Which markets move together: correlation of one-minute returns, measured from closed bars."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt
from operator import mul
from typing import NamedTuple

from levibot.bus.messages import Bar
from levibot.market.bars import MINUTE_MS

WINDOW = 120  # returns
_LEAST = 30  # returns of the same minutes, until a correlation is known


class _Returns(NamedTuple):
    """Log returns of the window, 0 where there is none, and the same in standard deviations."""

    raw: list[float]
    known: int  # bits
    standard: list[float]


class Correlations:
    """Pearson's correlation over the last two hours, of any two markets.

    A bar costs one assignment. Products are made only when they are asked for, and once a minute. The
    newest minute is left out: not all of its bars may have come. Synthetic bars are no measurement.
    """

    def __init__(self) -> None:
        self._closes: dict[str, dict[int, float]] = {}  # by minute
        self._newest = 0
        self._end = 0  # last minute of what is kept below
        self._returns: dict[str, _Returns] = {}
        self._pairs: dict[tuple[str, str], float | None] = {}

    def add(self, bar: Bar) -> None:
        """Take a closed bar, or a better one of the same minute."""
        minute = bar.open_ms // MINUTE_MS
        closes = self._closes.setdefault(bar.symbol, {})
        if bar.synthetic or not 0 < bar.close < inf:
            closes.pop(minute, None)
        else:
            closes[minute] = bar.close
        if len(closes) > WINDOW + 2:
            del closes[min(closes)]
        self._newest = max(self._newest, minute)
        if minute <= self._end:  # history, or a correction
            self._forget()

    def between(self, one: str, other: str) -> float | None:
        """Correlation of the returns of two markets, −1..1; None while it is not known."""
        if one == other:
            return 1.0
        if self._end != self._newest - 1:
            self._end = self._newest - 1
            self._forget()
        key = (one, other) if one < other else (other, one)
        if key not in self._pairs:
            self._pairs[key] = _correlation(self._of(one), self._of(other))
        return self._pairs[key]

    def _forget(self) -> None:
        self._returns.clear()
        self._pairs.clear()

    def _of(self, symbol: str) -> _Returns:
        if symbol not in self._returns:
            self._returns[symbol] = _measured(self._closes.get(symbol, {}), self._end)
        return self._returns[symbol]


def _measured(closes: dict[int, float], end: int) -> _Returns:
    raw, known = [0.0] * WINDOW, 0
    for index, minute in enumerate(range(end - WINDOW + 1, end + 1)):
        if minute in closes and minute - 1 in closes:
            raw[index] = log(closes[minute] / closes[minute - 1])
            known |= 1 << index
    return _Returns(raw, known, _standardised(raw, known))


def _standardised(raw: Sequence[float], known: int) -> list[float]:
    """Deviations from the mean in standard deviations; 0 where nothing is known, or nothing moves."""
    count = known.bit_count()
    if not count:
        return [0.0] * WINDOW
    mean = sum(raw) / count
    deviations = [value - mean if known >> index & 1 else 0.0 for index, value in enumerate(raw)]
    spread = sqrt(sum(map(mul, deviations, deviations)) / count)
    return [value / spread for value in deviations] if spread > 0 else [0.0] * WINDOW


def _correlation(one: _Returns, other: _Returns) -> float | None:
    known = one.known & other.known
    count = known.bit_count()
    if count < _LEAST:
        return None
    if one.known == other.known:
        first, second = one.standard, other.standard
    else:
        first, second = (_standardised(_masked(side.raw, known), known) for side in (one, other))
    if not (any(first) and any(second)):
        return None  # a price that does not move says nothing
    product: float = sum(map(mul, first, second))
    return min(1.0, max(-1.0, product / count))


def _masked(raw: Sequence[float], known: int) -> list[float]:
    return [value if known >> index & 1 else 0.0 for index, value in enumerate(raw)]
