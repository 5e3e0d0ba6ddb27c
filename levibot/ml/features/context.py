"""The market that leads the others, as the context of each: its closed bars, one minute back."""

from __future__ import annotations

import math
from math import fsum
from operator import mul

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Ohlcv
from levibot.ml.features.formulas import differences, is_sound
from levibot.ml.features.registry import CONTEXT_RETURNS, LONG, MOST_SYNTHETIC, RELATIVE_RETURNS

_SPAN_MS = LONG * MINUTE_MS
MISSING = (math.nan,) * (len(CONTEXT_RETURNS) + 1 + len(RELATIVE_RETURNS))


class ContextBars:
    """The newest closed bars of the leading market, in whatever order they come.

    A symbol's bar is judged with the context of the minute before. That is known when the bar closes,
    however the bars of the two markets race each other; so what is traded on is what was trained on.

    Parameters
    ----------
    kept
        Bars that are kept at least.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._bars: dict[int, tuple[float, bool]] = {}  # log close, synthetic, by opening time

    def add(self, bar: Ohlcv) -> None:
        """Take a closed bar in; of one that is known already the newer counts.

        Raises
        ------
        MarketDataError
            If it is none; its minute is missing then.
        """
        if not is_sound(bar):
            self._bars.pop(bar.open_ms, None)
            raise MarketDataError(
                f"{bar!r:.300} is no bar of context; expected finite prices, 0 < low ≤ open, close ≤ high"
            )
        self._bars[bar.open_ms] = math.log(bar.close), bar.synthetic
        if len(self._bars) >= 2 * self._kept:
            self._bars = {ms: self._bars[ms] for ms in sorted(self._bars)[-self._kept :]}

    def features(self, open_ms: int, own_returns: tuple[float, ...]) -> tuple[float, ...]:
        """Context of the bar that opens at `open_ms`.

        Parameters
        ----------
        own_returns
            The symbol's over `RELATIVE_RETURNS` bars, up to the close of the bar before.
        """
        get = self._bars.get
        found = [get(ms) for ms in range(open_ms - MINUTE_MS - _SPAN_MS, open_ms, MINUTE_MS)]
        bars = [bar for bar in found if bar is not None]
        if len(bars) < len(found) or bars[-1][1] or sum([synthetic for _, synthetic in bars]) > MOST_SYNTHETIC:
            return MISSING
        closes = [close for close, _ in bars]
        changes = differences(closes)
        close = closes[-1]
        return (
            *[close - closes[-1 - bars_back] for bars_back in CONTEXT_RETURNS],
            math.sqrt(fsum(map(mul, changes, changes)) / LONG),
            *[
                own - (close - closes[-1 - bars_back])
                for own, bars_back in zip(own_returns, RELATIVE_RETURNS, strict=True)
            ],
        )
