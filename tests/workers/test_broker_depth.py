"""The broker process gets order books and trades from the bus, and closes a position whose engine is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.bus.codec import BOOK, TRADES, frame
from levibot.bus.messages import OrderFilled, OrderPartiallyFilled
from levibot.config_execution import PaperConfig
from tests.execution.examples import SYMBOL, D, book, entry, trades
from tests.workers.broker_house import House


@pytest.fixture
def house(run_dir: Path) -> Iterator[House]:
    made = House(run_dir, paper=PaperConfig(cash=D(10_000), slippage=0.0, spread=0.0, latency=0.02))
    yield made
    made.close()


def test_orders_walk_the_book_and_a_stop_closes_what_a_dead_engine_left_within_two_seconds(house: House) -> None:
    house.start()
    house.until_trading()
    house.raw_frame(b"book.BTC/USDT\0no book")
    house.raw_frame(frame(BOOK, SYMBOL, book("99x9", "101x2 102x9")))
    house.until_beat(lambda beat: beat.report.refused_messages == 1, "the refusal of what is no book")
    engine, supervisor = house.client("engine-1"), house.client("supervisor")
    supervisor.account()
    engine.reconcile()
    long = entry("3", stop_loss=D(95), market_seq=house.publish(100.0, bid=99.0, ask=101.0), market_epoch=1)
    engine.submit(long)
    assert engine.await_end(long.client_id, OrderPartiallyFilled).fill.price == 101
    assert engine.await_end(long.client_id, OrderFilled).fill.price == 102
    waits = entry("1", kind="limit", limit_price=D(99), market_seq=0)
    engine.submit(waits)

    def served() -> bool:
        house.raw_frame(frame(TRADES, SYMBOL, trades(("sell", 99.0, 5.0))))
        return any(isinstance(event, OrderFilled) for event in engine.of(waits.client_id))

    house.until(served, "its turn behind nine others")

    engine.socket.close(0)  # for good
    stop = next(order for order in supervisor.account().open_orders if order.role == "stop")
    house.raw_frame(frame(BOOK, SYMBOL, book("94x9", "96x9")))
    fell = time.monotonic()
    house.publish(94.5, bid=94.0, ask=96.0)
    assert supervisor.await_end(stop.client_id, OrderFilled).fill.price == 94
    assert time.monotonic() - fell < 2.0
    assert supervisor.account().positions[0].quantity == 1, "what the limit order bought has no stop of its own"
