"""What truly happened at an exchange: a tape of trades, and what its REST interface shows of it."""

from __future__ import annotations

from typing import Literal

from levibot.exchange.validation import PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import flagged
from tests.market_live.driven import HISTORY, START_MS


class TrueMarket:
    """One symbol.

    Parameters
    ----------
    with_ids
        Whether trades have ids.
    has_empty_bars
        Whether the exchange has a bar for a minute without trades.
    """

    def __init__(self, *, with_ids: bool, has_empty_bars: bool) -> None:
        self.tape: list[PublicTrade] = []
        self._with_ids = with_ids
        self._has_empty_bars = has_empty_bars

    def trade(self, at_ms: int, price: float, amount: float) -> PublicTrade:
        """Somebody trades, `at_ms` after the start."""
        number = str(len(self.tape) + 1) if self._with_ids else None
        side: Literal["buy", "sell"] = "buy" if len(self.tape) % 3 else "sell"
        self.tape.append(PublicTrade(number, START_MS + at_ms, side, price, amount))
        return self.tape[-1]

    def bars(self, until_ms: int) -> list[Candle]:
        """All minutes that are over `until_ms` after the start, the empty ones too."""
        found, close = [], HISTORY[-1].close
        for open_ms in range(START_MS, (START_MS + until_ms) // MINUTE_MS * MINUTE_MS, MINUTE_MS):
            own = [one for one in self.tape if open_ms <= one.event_ms < open_ms + MINUTE_MS]
            prices = [one.price for one in own] or [close]
            close = prices[-1]
            volume = sum(one.amount for one in own)
            found.append(flagged(Candle(open_ms, prices[0], max(prices), min(prices), close, volume)))
        return found

    def shown_bars(self, from_ms: int, until_ms: int) -> list[Candle]:
        """What REST shows of the minutes from `from_ms`, Unix time, that are over `until_ms` after the start."""
        return [
            bar._replace(synthetic=False)
            for bar in self.bars(until_ms)
            if bar.open_ms >= from_ms and (self._has_empty_bars or bar.volume)
        ]
