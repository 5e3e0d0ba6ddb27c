"""A strategy that is in and out all the time."""

from __future__ import annotations

from collections.abc import Sequence

from levibot.bus.messages import Bar, Position, Tick
from levibot.strategies.base import Signal

_NOTHING = 30.0  # quote asset: what fees and steps leave of a position


class Busy:
    """Long while it has nothing, flat as soon as it has something."""

    @property
    def warm_up_bars(self) -> int:
        """None to speak of."""
        return 1

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Nothing is remembered."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        """In at a new bar, at which risk may be asked again."""
        return self._signal(bar.close, position)

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        """Out at the next price."""
        return self._signal(tick.last, position)

    @staticmethod
    def _signal(price: float, position: Position) -> Signal:
        return Signal("flat" if float(abs(position.quantity)) * price > _NOTHING else "long")
