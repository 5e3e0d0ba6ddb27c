"""A real broker process that trades on the loopback exchange, and its last moments without a supervisor."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import MarketSpec, OrderAccepted, OrderFilled
from levibot.config_execution import CONFIRMATION, LiveConfig
from levibot.config_market import ExchangeConfig
from levibot.locations import KEY_VARIABLES
from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import SECRET, Settings, account
from tests.execution.examples import SYMBOL, entry, market
from tests.workers.broker_house import House
from workers.deadman import EXIT_CODE

GRACE_S = 20.0
KEY = f"loopback-{secrets.token_hex(6)}"  # on this machine one broker only may trade with a key


class LiveHouse(House):
    """A house whose broker trades on a loopback exchange, at whose prices its feed publishes."""

    def __init__(self, folder: Path, exchange: RunningExchange) -> None:
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
        )
        self.markets = {SYMBOL: exchange.run(_rules)}
        self.price = float(exchange.run(_best_bid))

    def open_orders(self) -> list[tuple[str, str]]:
        """Type and side of what rests on the exchange."""
        return self.exchange.run(
            lambda exchange: [
                (order.request.type, order.side)
                for account in exchange.accounts
                for order in account.open_orders()
            ]
        )


def _best_bid(exchange: Any) -> Decimal:
    price: Decimal = exchange.market.symbols[SYMBOL].book.best("buy")[0]
    return price


def _rules(exchange: Any) -> MarketSpec:
    rules = exchange.market.symbols[SYMBOL].instrument
    return market(
        amount_step=rules.step, price_tick=rules.tick, min_amount=rules.min_amount, min_cost=rules.min_cost
    )


@pytest.fixture
def house(run_dir: Path) -> Iterator[LiveHouse]:
    with running(Settings(accounts=[account("binance", KEY)], symbols=(SYMBOL,), quotes_per_s=1.0)) as exchange:
        house = LiveHouse(run_dir, exchange)
        house.start()
        yield house
        house.close()


def test_left_alone_it_cancels_entries_and_ends_while_the_stop_stays(
    house: LiveHouse,
) -> None:
    house.until_trading()
    engine = house.client()
    engine.reconcile()
    price = Decimal(str(house.price))
    buy = entry("0.01", stop_loss=(price / 2).quantize(Decimal("0.01")))
    engine.submit(buy)
    engine.await_end(buy.client_id, OrderFilled)
    far = entry("0.01", kind="limit", limit_price=(price * 9 / 10).quantize(Decimal("0.01")))
    engine.submit(far)
    engine.await_end(far.client_id, OrderAccepted)
    house.until(lambda: sorted(house.open_orders()) == [("limit", "buy"), ("stop_loss", "sell")], "both to rest")

    house.leash.close()
    wait_for(lambda: house.open_orders() == [("stop_loss", "sell")], "the entry to be cancelled", seconds=GRACE_S)
    house.process.join(GRACE_S + 20)
    assert house.process.exitcode in (0, EXIT_CODE)
    assert house.open_orders() == [("stop_loss", "sell")]
    house.process = None


def test_a_broker_that_stops_leaves_no_entry_behind(house: LiveHouse) -> None:
    house.until_trading()
    engine = house.client()
    engine.reconcile()
    far = entry("0.01", kind="limit", limit_price=Decimal(str(house.price * 0.9)).quantize(Decimal("0.01")))
    engine.submit(far)
    engine.await_end(far.client_id, OrderAccepted)
    house.stop()
    assert house.open_orders() == []
    house.process = None
