"""Live venues on the loopback exchange, in both dialects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings, account
from tests.execution.live.guarded import GuardedHouse
from tests.execution.live.house import SYMBOL, LiveHouse


@pytest.fixture(scope="package", params=["binance", "mexc"])
def running_exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(
        Settings(dialect=request.param, trades_per_s=5.0, history=10, weight_limit=1_000_000)
    ) as exchange:
        yield exchange


@pytest.fixture
def house(running_exchange: RunningExchange, tmp_path: Path) -> Iterator[LiveHouse]:
    yield LiveHouse(running_exchange, tmp_path / "state")
    running_exchange.clear()


@pytest.fixture(scope="package", params=["binance", "mexc"])
def quiet_exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(
        Settings(dialect=request.param, quiet=(SYMBOL,), quotes_per_s=1.0, history=10, weight_limit=1_000_000)
    ) as exchange:
        yield exchange


@pytest.fixture
def guarded(quiet_exchange: RunningExchange, tmp_path: Path) -> Iterator[GuardedHouse]:
    """A house with an account of its own."""
    owner = account(quiet_exchange.dialect, key=f"key of {tmp_path.name}")
    quiet_exchange.run(lambda exchange: exchange.accounts.append(owner))
    house = GuardedHouse(quiet_exchange, tmp_path / "state", owner)
    house.move("1")
    yield house
    quiet_exchange.clear()
    quiet_exchange.run(lambda exchange: exchange.accounts.remove(owner))
