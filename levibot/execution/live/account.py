"""What the desks of one account share, and what each has at its side to cover its position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from levibot.bus.messages import Tick
from levibot.config_execution import LiveConfig
from levibot.errors import DataStoreError
from levibot.exchange.trading import Trading
from levibot.execution.live.journal import Journal, Tell
from levibot.execution.orders import Order


class Protection(Protocol):
    """Covers the position of one symbol, and leaves it; built on the symbol's desk.

    All but `on_price` run in the desk's own task, one at a time, and may await what the desk offers.
    """

    def on_price(self, tick: Tick) -> None:
        """A price has come. Must return at once: what is to be done goes through `SymbolDesk.do`."""
        ...

    async def on_filled(self, order: Order) -> None:
        """Fills of an order were counted, of an entry or another; it may be at its end. Told once for several."""
        ...

    async def on_ended(self, order: Order) -> None:
        """An order is at its end: filled, cancelled, rejected. Told after `on_filled`."""
        ...

    async def exit(self, order: Order) -> None:
        """Carry out an order that reduces: SUBMITTED, or TRIGGERED, at its arrival or found so at the start."""
        ...

    async def review(self) -> None:
        """The books agree with the exchange now: see that the position is covered, and by what rests."""
        ...

    def on_timer(self, now_ns: int) -> None:
        """Do what only time brings. Must return at once; `now_ns` is CLOCK_BOOTTIME."""
        ...

    def is_covered(self) -> bool:
        """Tell whether nothing of the position, dust left out, is without a stop."""
        ...

    def trouble(self) -> str:
        """Why the position is neither covered nor closed, though it should be; empty: it is well."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """What the desks of one account share."""

    journal: Journal
    trading: Trading
    config: LiveConfig
    tell_trouble: Tell
    broken: Callable[[DataStoreError], None]  # told when the books cannot be used any more
