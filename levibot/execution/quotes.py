"""The newest price of a symbol, as the paper exchange trades on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import Tick
from levibot.config_execution import PaperConfig


@dataclass(frozen=True)
class Quote:
    """Best prices; those that the feed lacks are `last` ± half the assumed spread."""

    bid: Decimal
    ask: Decimal

    @classmethod
    def of(cls, tick: Tick, paper: PaperConfig) -> Quote | None:
        """Quote of a tick; None if it has no usable price."""
        if _is_price(tick.bid) and _is_price(tick.ask) and tick.bid <= tick.ask:
            return cls(Decimal(repr(tick.bid)), Decimal(repr(tick.ask)))
        if not _is_price(tick.last):
            return None
        last, half = Decimal(repr(tick.last)), Decimal(repr(paper.spread)) / 2
        return cls(last * (1 - half), last * (1 + half))


def _is_price(value: float) -> bool:
    return math.isfinite(value) and value > 0
