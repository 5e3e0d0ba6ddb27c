"""Alternative data of one asset, joined to bars at the time when they were fetched."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

from levibot.bus.messages import AltData
from levibot.market.bars import MINUTE_MS
from levibot.ml.features.registry import ALTDATA_FEATURES

_MOST_KEPT = 1000  # of one name, even where no bar comes that would show which are old


class _Known(NamedTuple):
    """A value; in order of the time when it was fetched."""

    fetched_ms: int
    expires_ms: int
    value: float


def feature_name(data: AltData) -> str:
    """Which feature a value is, if it is one: its own name, with ``market_`` before it for that of all assets."""
    return data.name if data.asset else f"market_{data.name}"


class AltValues:
    """What was known of one asset and of the market as a whole, and when.

    A value belongs to a bar if it had been fetched when the bar opened, was the last of its name, and had
    not expired when the bar closed. The rule leaves a minute for its way here, so that no race decides.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, list[_Known]] = {name: [] for name in ALTDATA_FEATURES}

    def add(self, data: AltData) -> bool:
        """Take a value in; one that is no feature is left alone. Whether anything has changed."""
        known = self._by_name.get(feature_name(data))
        if known is None:
            return False
        value = data.value if math.isfinite(data.value) else math.nan
        new = _Known(data.fetched_ms, data.expires_ms, value)
        index = bisect_left(known, data.fetched_ms, key=lambda each: each.fetched_ms)
        if index < len(known) and known[index].fetched_ms == data.fetched_ms:  # it is published again and again
            changed = known[index] != new
            known[index] = new
            return changed
        known.insert(index, new)
        del known[:-_MOST_KEPT]
        return True

    def features(self, open_ms: int) -> tuple[float, ...]:
        """The values that belong to the bar that opens at `open_ms`, in the order of the registry."""
        close_ms = open_ms + MINUTE_MS
        return tuple([_value(known, open_ms, close_ms) if known else math.nan for known in self._by_name.values()])

    def forget_before(self, open_ms: int) -> None:
        """Drop what no bar from `open_ms` on needs."""
        for known in self._by_name.values():
            while len(known) > 1 and known[1].fetched_ms <= open_ms:
                del known[0]


def _value(known: list[_Known], open_ms: int, close_ms: int) -> float:
    for each in reversed(known):
        if each.fetched_ms <= open_ms:
            return each.value if close_ms < each.expires_ms else math.nan
    return math.nan
