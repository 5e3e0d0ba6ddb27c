"""The UTC day: what the portfolio was worth when it began, apart from what was paid in or out since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import Field

from levibot.config_base import Section
from levibot.execution.position import ZERO

DAY_MS: Final = 86_400_000


class Valuation(Section):
    """The portfolio at one moment of event time, in the quote asset."""

    event_ms: int
    equity: Decimal
    book_value: Decimal  # positions at their entry prices
    funds: dict[str, Decimal] | None = None  # paid in less paid out, ever, by asset that `equity` counts
    profits: dict[str, Decimal] | None = None  # realised and not, ever, by symbol
    prices: dict[str, Decimal] = Field(default_factory=dict)  # that other assets were counted at

    @property
    def day(self) -> int:
        """UTC day, counted from 1970-01-01."""
        return self.event_ms // DAY_MS


class DayStart(Section):
    """What the portfolio was worth when the UTC day began, with what was paid in or out since."""

    day: int  # counted from 1970-01-01
    equity: Decimal
    book_value: Decimal
    funds: dict[str, Decimal] | None = None  # that `equity` counts; None: as it was found, of an earlier LeviBot
    profits: dict[str, Decimal] | None = None

    @classmethod
    def of(cls, day: int, last: Valuation) -> DayStart:
        """A day that begins with the last value before it."""
        return cls(day=day, equity=last.equity, book_value=last.book_value, funds=last.funds, profits=last.profits)

    def lost(self, symbol: str, now: Valuation) -> Decimal:
        """What `symbol` has lost since the day began, in the quote asset; below 0: won."""
        return (self.profits or {}).get(symbol, ZERO) - (now.profits or {}).get(symbol, ZERO)


@dataclass(frozen=True, slots=True)
class Shift:
    """What of a new equity is no profit: transfers, and an asset that could not be counted before."""

    equity: Decimal
    book_value: Decimal


def shift_of(start: DayStart, now: Valuation, balances: Mapping[str, Decimal], quote: str) -> Shift:
    """How far the start must move, so that only profit is between it and `now`.

    Parameters
    ----------
    start
        Of the day.
    now
        The newest value.
    balances
        Of other assets than `quote`.
    quote
        Asset in which the account is kept.
    """
    if start.funds is None:
        return Shift(ZERO, ZERO)
    equity = book_value = ZERO
    for asset, moved in (now.funds or {}).items():
        if asset == quote:
            book_value = moved - start.funds.get(asset, ZERO)
            equity += book_value
        elif asset in start.funds:
            equity += (moved - start.funds[asset]) * now.prices[asset]
        else:
            equity += balances.get(asset, ZERO) * now.prices[asset]
    return Shift(equity, book_value)


def moved(start: DayStart, now: Valuation, shift: Shift) -> DayStart:
    """The start of the day after `shift`; what an earlier LeviBot did not write down is taken from `now`."""
    return start.model_copy(
        update={
            "equity": start.equity + shift.equity,
            "book_value": start.book_value + shift.book_value,
            "funds": now.funds,
            "profits": now.profits if start.profits is None else start.profits,
        }
    )
