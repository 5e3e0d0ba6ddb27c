"""A real broker process that trades on the loopback exchange: its key, its start, its last moments."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from levibot.bus.messages import OrderAccepted, OrderCancelled, OrderFilled, OrderSubmitted
from levibot.config_execution import CONFIRMATION, LiveConfig
from levibot.config_market import ExchangeConfig
from levibot.locations import KEY_VARIABLES
from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import KEY, SECRET, Settings
from tests.execution.examples import SYMBOL, entry
from tests.workers.broker_house import House

GRACE_S = 3.0


class LiveHouse(House):
    """A house whose broker trades on a loopback exchange, at whose prices its feed publishes."""

    def __init__(self, folder: Path, exchange: RunningExchange, **spec: Any) -> None:
        place = exchange.connection()
        self.exchange = exchange
        self.leash = Leash(folder / "leash")
        super().__init__(
            folder,
            live=LiveConfig(confirm=CONFIRMATION),
            exchange=ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=60_000.0),
            exchange_id=place.id,
            keys=dict(zip(KEY_VARIABLES, (KEY, SECRET), strict=False)),
            leash=self.leash.path,
            deadman_grace=GRACE_S,
            **spec,
        )
        self.markets = {SYMBOL: exchange.run(_rules)}

    @property
    def mid(self) -> float:
        """Price on the exchange."""
        return self.exchange.run(_mid)

    def open_orders(self) -> list[tuple[str, str, Decimal]]:
        """Type, side and quantity of what rests on the exchange for the account."""
        return self.exchange.run(
            lambda exchange: [
                (order.type, order.side, order.amount)
                for account in exchange.accounts
                for order in account.open_orders()
            ]
        )

    def trade(self) -> None:
        """Serve until the broker trades, at the exchange's price."""
        self.price = self.mid
        self.until_trading()


def _mid(exchange: Any) -> float:
    book = exchange.market.symbols[SYMBOL].book
    return float(book.best_bid + book.best_ask) / 2


def _rules(exchange: Any) -> Any:
    return exchange.market.symbols[SYMBOL].spec


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with running(Settings(dialect="binance")) as exchange:
        yield exchange


@pytest.fixture
def house(run_dir: Path, exchange: RunningExchange) -> Iterator[LiveHouse]:
    house = LiveHouse(run_dir, exchange)
    house.start()
    yield house
    house.close()


def test_nothing(house: LiveHouse) -> None:
    house.trade()
