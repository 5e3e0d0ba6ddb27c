"""Funding of swaps on paper: paid at 00:00, 08:00 and 16:00 UTC of market time."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages import Position
from levibot.execution.books import Books
from levibot.execution.position import ZERO

_INTERVAL_MS = 8 * 3_600_000
_STEP = Decimal("0.00000001")


class Funding:
    """Knows which payments of an account are due.

    Parameters
    ----------
    books
        The account.
    rate
        That longs pay shorts, as a fraction of the position's value.
    """

    def __init__(self, books: Books, rate: float) -> None:
        self._books = books
        self._rate = Decimal(repr(rate))
        self._settled_ms: dict[str, int] = {}  # symbol → market time up to which all is paid

    def is_due(self, symbol: str, event_ms: int) -> bool:
        """Tell whether the market time has passed a payment of a position."""
        if not self._rate or ":" not in symbol or not self._books.position(symbol).quantity:
            self._settled_ms.pop(symbol, None)
            return False
        return self._payments(symbol, event_ms) > 0

    def pay(self, symbol: str, event_ms: int, mark: Decimal) -> None:
        """Pay what is due, at `mark`; in a transaction. Payments that were missed are made up for in one."""
        count = self._payments(symbol, event_ms)
        rate = self._rate * count
        amount = funding_of(self._books.position(symbol), mark, rate)
        self._books.pay_funding(symbol, amount, rate, mark)
        del self._settled_ms[symbol]  # read from the books again: the transaction may yet fail

    def _payments(self, symbol: str, event_ms: int) -> int:
        settled_ms = self._settled_ms.get(symbol)
        if settled_ms is None:
            # What was written last happened when all before it was paid, as ticks pay first.
            settled_ms = self._settled_ms[symbol] = self._books.written_ms(symbol) or event_ms
        return event_ms // _INTERVAL_MS - settled_ms // _INTERVAL_MS


def funding_of(position: Position, mark: Decimal, rate: Decimal) -> Decimal:
    """What a position gains by a payment, in the quote asset: −quantity · mark · rate, rounded to eight decimals.

    Parameters
    ----------
    position
        Signed.
    mark
        Price of the contract.
    rate
        Above 0 longs pay shorts.
    """
    amount = -position.quantity * mark * rate
    return amount.quantize(_STEP) if amount else ZERO
