"""Exchanges for the tests, and the real ccxt talking to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import DialectName, Settings

T = TypeVar("T")
SYMBOL = "BTC/USDT"
SECONDS = 60.0


class Served:
    """An exchange, and scenarios that a ccxt client of its own plays on it."""

    def __init__(self, exchange: RunningExchange) -> None:
        self.exchange = exchange
        self._markets: Any = None

    @property
    def dialect(self) -> DialectName:
        return self.exchange.exchange.settings.dialect

    def play(
        self, scenario: Callable[[Any], Awaitable[T]], *, keep_alive_ms: int | None = None, **config: Any
    ) -> T:
        """Run a scenario; the client has its markets already, from an earlier `load_markets`."""

        async def act() -> T:
            client = self.exchange.client(**{"rateLimit": 5, "timeout_on_exit": 0, **config})
            if self.dialect == "mexc":
                client.options["watchOrderBook"]["snapshotDelay"] = 5
            if keep_alive_ms is not None:
                client.streaming["keepAlive"] = keep_alive_ms
            try:
                if self._markets is None:
                    self._markets = await client.load_markets()
                else:
                    client.set_markets(self._markets)
                return await asyncio.wait_for(scenario(client), SECONDS)
            finally:
                await client.close()

        return asyncio.run(act())


@pytest.fixture(scope="module", params=["binance", "mexc"])
def module_exchange(request: pytest.FixtureRequest) -> Iterator[Served]:
    with running(Settings(dialect=request.param, trades_per_s=20.0)) as exchange:
        yield Served(exchange)


@pytest.fixture
def served(module_exchange: Served) -> Iterator[Served]:
    """One exchange of each dialect, without faults at the start of a test."""
    yield module_exchange
    module_exchange.exchange.clear()


def start(dialect: DialectName, **settings: Any) -> Any:
    """A context manager: an exchange of one's own."""
    return running(Settings(dialect=dialect, **settings))
