"""Watches the price for orders that rest in the broker, by the feed or, if that is silent, by asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from levibot.bus.messages import Side, Tick
from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeRefusedError, RetryError
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.wanted import ROLES, rests_here
from levibot.execution.orders import Order
from levibot.execution.triggers import is_reached, trailed, trigger_price

_SILENT_NS = 1_000_000_000  # without a tick for so long, the exchange is asked for its prices
_READ_NS = 1_000_000_000  # between two such questions
_READ_S = 2.0  # for an answer

PriceOf = Callable[[Side], float]


class PriceWatch:
    """Tells of orders of one symbol that the price has reached, and of trailing stops that follow it.

    Parameters
    ----------
    desk
        Of the symbol.
    reached
        Told of an order in the broker, and the price that has reached it.
    followed
        Told of a trailing stop in the broker, and its new trigger.
    """

    def __init__(
        self,
        desk: SymbolDesk,
        reached: Callable[[Order, Decimal], None],
        followed: Callable[[Order, Decimal], None],
    ) -> None:
        self._desk = desk
        self._reached = reached
        self._followed = followed
        self._reading: asyncio.Task[None] | None = None
        self._read_ns = 0  # when the last question was answered

    def on_tick(self, tick: Tick) -> None:
        """Compare what rests in the broker with a price of the feed."""
        self._compare(lambda side: trigger_price(tick, side), float(tick.bid), float(tick.ask))

    def on_timer(self, now_ns: int) -> None:
        """Ask the exchange for its prices if they are needed, and the feed is silent."""
        tick = self._desk.tick
        silent = tick is None or now_ns - tick.received_ns >= _SILENT_NS
        if not silent or self._reading is not None or now_ns - self._read_ns < _READ_NS:
            return
        if any(rests_here(order) for order in self._desk.orders):
            self._reading = asyncio.create_task(self._read(), name=f"prices of {self._desk.symbol}")

    async def close(self) -> None:
        """End a question that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_READ_S):
                quote = await self._desk.read_quote()
        except (RetryError, BackOffError, ExchangeRefusedError, TimeoutError) as error:
            self._desk.tell_trouble(f"the feed is silent, and the price could not be read: {error}")
        else:
            bid, ask = float(quote.bid), float(quote.ask)
            self._compare(lambda side: bid if side == "sell" else ask, bid, ask)
        finally:
            self._read_ns = boot_ns()
            self._reading = None

    def is_reached(self, order: Order) -> bool:
        """Tell whether the newest price of the feed has reached an order."""
        tick = self._desk.tick
        return tick is not None and is_reached(order.intent, order.trigger, trigger_price(tick, order.intent.side))

    def _compare(self, price_of: PriceOf, bid: float, ask: float) -> None:
        for order in self._desk.orders:
            if not rests_here(order):
                continue
            intent = order.intent
            price = price_of(intent.side)
            if intent.kind == "limit":
                crossed = bid >= order.limit if intent.side == "sell" else 0 < ask <= order.limit
                if crossed:
                    self._reached(order, Decimal(repr(bid if intent.side == "sell" else ask)))
            elif intent.kind in ROLES and price > 0:
                exact = Decimal(repr(price))
                if is_reached(intent, order.trigger, price):
                    self._reached(order, exact)
                elif (trigger := trailed(intent, exact)) is not None:
                    self._followed(order, trigger)
