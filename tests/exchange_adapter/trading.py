"""Trading of the product on an account of the loopback exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from levibot.config_market import ExchangeConfig
from levibot.exchange.credentials import Credentials
from levibot.exchange.listeners import Listeners
from levibot.exchange.private import PrivateTrading
from levibot.exchange.session import ExchangeSession
from levibot.exchange.trading import Placement
from tests.exchange.accounts import Order
from tests.exchange.running import RunningExchange
from tests.exchange.settings import KEY, SECRET

T = TypeVar("T")
SYMBOL = "BTC/USDT"
AMOUNT = Decimal("0.01")
FAR_BELOW = Decimal("0.8")
LOOPBACK = Credentials(KEY, SECRET)
_PLENTY = 60_000.0  # requests a minute, so that nobody waits for a turn


@asynccontextmanager
async def open_trading(
    exchange: RunningExchange,
    state_dir: Path,
    credentials: Credentials = LOOPBACK,
    listeners: Listeners | None = None,
) -> AsyncIterator[PrivateTrading]:
    """A session of the broker, and trading in it, both open; both are closed in the end."""
    place = exchange.connection()
    config = ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=_PLENTY)
    session = ExchangeSession(place.id, config, "broker", state_dir, listeners)
    trading = PrivateTrading(session, credentials)
    try:
        await session.open()
        await trading.open()
        yield trading
    finally:
        await trading.close()
        await session.close()


class Account:
    """An exchange, and trading on it."""

    def __init__(self, exchange: RunningExchange, state_dir: Path) -> None:
        self.exchange = exchange
        self.state_dir = state_dir
        self._sequence = 0

    def play(self, scenario: Callable[[PrivateTrading], Awaitable[T]]) -> T:
        """Open a session and trading, run a scenario; nothing of it may be left."""

        async def act() -> T:
            async with asyncio.timeout(60), open_trading(self.exchange, self.state_dir) as trading:
                result = await scenario(trading)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left
            return result

        return asyncio.run(act())

    def new_id(self) -> str:
        self._sequence += 1
        return f"test-{self.state_dir.parent.name[-8:].replace('_', '0')}-{self._sequence}-E"

    def buy(self, **terms: object) -> Placement:
        kind = "limit" if "limit_price" in terms else "market"
        return Placement(self.new_id(), SYMBOL, "buy", kind, AMOUNT, **terms)  # type: ignore[arg-type]

    def price(self, factor: Decimal) -> Decimal:
        state = self.exchange.exchange.market.symbols[SYMBOL]
        best = state.book.best("sell")
        assert best is not None
        return state.instrument.to_tick(best[0] * factor)

    @property
    def placed(self) -> int:
        return self.asked("POST /api/v3/order")

    def asked(self, target: str) -> int:
        """Requests that arrived, by whomever they were repeated."""
        return len(self.exchange.log.asked(target))

    def orders(self, client_id: str) -> list[Order]:
        """What the exchange really has of that id."""
        owner = self.exchange.exchange.accounts[0]
        return [order for order in owner.orders.values() if order.client_id == client_id]
