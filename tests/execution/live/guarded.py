"""A live venue whose positions are protected, on an exchange whose prices move when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from levibot.bus.messages import Tick
from levibot.clock import boot_ns
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.protection import SpotProtection
from levibot.execution.orders import Order
from tests.execution.live.house import SYMBOL, D, Life, LiveHouse

_DEEP = D(50)


class GuardedLife(Life):
    """A life with the protection that the product has."""

    def _protect(self, desk: SymbolDesk) -> Any:
        return SpotProtection(desk)

    def resting(self, kind: str) -> list[Order]:
        """Open orders of a kind."""
        return [order for order in self.books.resting.get(SYMBOL, {}).values() if order.intent.kind == kind]

    def covered(self) -> bool:
        """Whether the position has a stop for all of it, and the venue says so."""
        stops = sum((order.remaining for order in self.resting("stop")), D(0))
        return stops > 0 and stops == self.position.quantize(D("0.00001"), "ROUND_FLOOR") and not self.bare()

    def bare(self) -> bool:
        """Whether the venue says that a stop is missing."""
        return self.venue.unprotected() == [SYMBOL]


class GuardedHouse(LiveHouse):
    """Prices stand still until a test moves them."""

    def make(self, *, trading: Any = None, **settings: Any) -> GuardedLife:
        life = GuardedLife(self.path, trading or self.trading, self.session, **settings)
        self._living.append(life)
        return life

    async def open(self, **settings: Any) -> GuardedLife:
        """A ready life."""
        life = await self.begin(**settings)
        assert isinstance(life, GuardedLife)
        return life

    @property
    def keeps_stops(self) -> bool:
        """Whether this exchange keeps stops itself."""
        return self.exchange.dialect == "binance"

    def at(self, factor: str) -> Decimal:
        """A price, as a part of the first one."""
        return self.market.instrument.to_tick(self.market.instrument.first_price * D(factor))

    def move(self, factor: str, *lives: Life, depth: Decimal = _DEEP) -> None:
        """Have the market trade at another price, and tell these lives."""
        price = self.at(factor)

        def act(exchange: Any) -> None:
            book = self.market.book
            for side in ("buy", "sell"):
                for level, _ in book.levels(side):
                    book.set(side, level, D(0))
            book.set("buy", price, depth)
            book.set("sell", price + self.market.instrument.tick, depth)
            exchange.market.trade(SYMBOL, price, D("0.001"), True, exchange.clock.market_ms())

        self.exchange.run(act)
        for life in lives:
            self.tell(life, price)

    def tell(self, life: Life, price: Decimal) -> None:
        """Tell a life a price, whatever the market's is."""
        seq = self._sequence = self._sequence + 1
        value = float(price)
        tick = Tick(SYMBOL, 1, seq, 0, self.trading.exchange_ms(), boot_ns(), value, value, value)
        life.events += life.venue.on_tick(tick)

    async def bought(self, life: GuardedLife, quantity: str = "0.01", **terms: Any) -> str:
        """Client id of an entry that is filled, and whose protection rests where it should."""
        client_id = life.submit(self.entry(quantity, **{"stop_loss": self.at("0.95"), **terms}))
        await life.until_over(client_id)
        await self.until_settled(life)
        return client_id

    def is_settled(self, life: GuardedLife) -> bool:
        """Whether the position has its stop, and where it belongs."""
        return life.covered() and [not one.exchange_id for one in life.resting("stop")] == [not self.keeps_stops]

    async def until_settled(self, life: GuardedLife) -> None:
        """Wait until the position has its stop, and where it belongs."""
        await life.until(lambda: self.is_settled(life), "settled")

    async def until_closed(self, life: GuardedLife) -> None:
        """Wait until nothing but dust is held, and nothing rests."""
        await life.until(lambda: life.position < D("0.0001") and not life.books.open, "closed")

    @property
    def sales(self) -> list[Any]:
        """Orders of ours at the exchange that have sold something."""
        return [order for order in self.orders if order.side == "sell" and order.filled]

    def stops_at_exchange(self) -> list[Any]:
        """Open stops at the exchange."""
        return [order for order in self.orders if order.open and order.request.type == "stop_loss"]

    def check(self, life: Life) -> None:
        """As for any life; and never was more sold than bought."""
        super().check(life)
        assert life.position >= 0


class Interfering:
    """Passes everything on to the exchange, after something else has happened there."""

    def __init__(self, trading: Any, **before: Callable[[], None]) -> None:
        self._trading = trading
        self._before = before

    def __getattr__(self, name: str) -> Any:
        before = self._before.pop(name, None)
        if before is not None:
            before()
        return getattr(self._trading, name)


class Unanswered:
    """Passes everything on to the exchange, but for a request that it never answers."""

    def __init__(self, trading: Any, request: str) -> None:
        self._trading = trading
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return self._never if name == self._request else getattr(self._trading, name)

    async def _never(self, *_: Any) -> None:
        await asyncio.Event().wait()
