"""Sessions of the product with the loopback exchange, in both dialects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from levibot.config_market import ExchangeConfig
from levibot.exchange.budget import Role
from levibot.exchange.listeners import Listeners
from levibot.exchange.session import ExchangeSession
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.exchange_adapter.trading import SYMBOL, Account

__all__ = ["SYMBOL"]

T = TypeVar("T")
SECONDS = 60.0
KLINES = "GET /api/v3/klines"


class House:
    """An exchange, a state directory, and sessions that take place there."""

    def __init__(self, exchange: RunningExchange, state_dir: Path) -> None:
        self.exchange = exchange
        self.state_dir = state_dir
        self.told: list[tuple[str, Any]] = []  # what listeners were told, in order

    @property
    def dialect(self) -> str:
        return str(self.exchange.dialect)

    def config(self, **settings: Any) -> ExchangeConfig:
        place = self.exchange.connection()
        plenty = {"requests_per_minute": 60_000.0}  # so that no test waits for its turn unless it wants to
        return ExchangeConfig(**{"id": place.id, "urls": dict(place.urls), **plenty, **settings})

    def session(self, role: Role = "feed", **settings: Any) -> ExchangeSession:
        def note(what: str) -> Callable[..., None]:
            return lambda *details: self.told.append((what, details if len(details) > 1 else details[0]))

        listeners = Listeners(note("markets"), note("connected"), note("disconnected"), note("trouble"))
        return ExchangeSession(self.dialect, self.config(**settings), role, self.state_dir, listeners)

    def heard(self, what: str) -> list[Any]:
        return [details for told, details in self.told if told == what]

    def play(self, scenario: Callable[[ExchangeSession], Awaitable[T]], **settings: Any) -> T:
        """Open a session, run a scenario in it, close it; nothing of it may be left."""

        async def act() -> T:
            session = self.session(**settings)
            try:
                async with asyncio.timeout(SECONDS):
                    await session.open()
                    return await scenario(session)
            finally:
                await session.close()
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, left

        return asyncio.run(act())

    def asked(self, target: str) -> int:
        return len(self.exchange.log.asked(target))


@pytest.fixture(scope="module", params=["binance", "mexc"])
def running_exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(Settings(dialect=request.param, trades_per_s=20.0)) as exchange:
        yield exchange


@pytest.fixture
def house(running_exchange: RunningExchange, tmp_path: Path) -> Iterator[House]:
    """One exchange of each dialect, without faults at the start of a test."""
    yield House(running_exchange, tmp_path / "state")
    running_exchange.clear()


@pytest.fixture(scope="module", params=["binance", "mexc"])
def private_exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(Settings(dialect=request.param, trades_per_s=20.0, weight_limit=1_000_000)) as exchange:
        yield exchange


@pytest.fixture
def account(private_exchange: RunningExchange, tmp_path: Path) -> Iterator[Account]:
    """An account in each dialect, without faults at the start of a test."""
    yield Account(private_exchange, tmp_path / "state")
    private_exchange.clear()
