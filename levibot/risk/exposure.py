"""What positions, open entries and grants amount to, symbol by symbol, in the quote asset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import Side
from levibot.execution.position import ZERO


@dataclass(slots=True)
class Exposure:
    """One symbol.

    Attributes
    ----------
    held
        Value of the position at its mark, below 0 for a short.
    buys, sells
        What open entries and grants may yet buy or sell, at the dearer of their price and the mark.
    """

    held: Decimal = ZERO
    buys: Decimal = ZERO
    sells: Decimal = ZERO

    @property
    def gross(self) -> Decimal:
        """Most that it may come to, on whichever side."""
        return abs(self.held) + self.buys + self.sells

    def along(self, side: Side) -> Decimal:
        """Most that may stand on `side`."""
        return max(self.held, ZERO) + self.buys if side == "buy" else max(-self.held, ZERO) + self.sells


class Exposures:
    """The whole portfolio, built up piece by piece."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, Exposure] = {}

    def hold(self, symbol: str, value: Decimal) -> None:
        """Count a position in."""
        self._of(symbol).held += value

    def may_open(self, symbol: str, side: Side, cost: Decimal) -> None:
        """Count an open entry or a grant in."""
        exposure = self._of(symbol)
        if side == "buy":
            exposure.buys += cost
        else:
            exposure.sells += cost

    def of(self, symbol: str) -> Exposure:
        """Exposure of a symbol; nothing, if it has none."""
        return self._by_symbol.get(symbol) or Exposure()

    def __iter__(self) -> Iterator[tuple[str, Exposure]]:
        return iter(self._by_symbol.items())

    @property
    def gross(self) -> Decimal:
        """Sum of all, long and short."""
        return sum((exposure.gross for exposure in self._by_symbol.values()), ZERO)

    @property
    def held(self) -> Decimal:
        """Positions, long less short."""
        return sum((exposure.held for exposure in self._by_symbol.values()), ZERO)

    def net(self, side: Side) -> Decimal:
        """How much more may stand on `side` than is held on the other; what is not filled yet hedges nothing."""
        if side == "buy":
            return self.held + sum((exposure.buys for exposure in self._by_symbol.values()), ZERO)
        return sum((exposure.sells for exposure in self._by_symbol.values()), ZERO) - self.held

    def _of(self, symbol: str) -> Exposure:
        return self._by_symbol.setdefault(symbol, Exposure())
