"""The broker process and the state of its markets: stale, halted, with new rules, and well again."""

from __future__ import annotations

from typing import Any

import msgspec

from levibot.bus.codec import MARKET, frame
from levibot.bus.messages import (
    CancelOrder,
    MarketRecovered,
    MarketStale,
    OrderAccepted,
    OrderCancelled,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
    SpecChanged,
)
from tests.deadline import wait_for
from tests.execution.examples import SYMBOL, D, entry, leave
from tests.workers.broker_house import Client, House


def test_no_entry_on_a_market_that_the_feed_calls_stale(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    house.raw_frame(frame(MARKET, SYMBOL, MarketStale(SYMBOL, 1, 1, 0, "no frame for 20 s")))

    def denied() -> bool:
        engine.submit(entry("0.1"))
        engine.read()
        return any("stale: no frame for 20 s" in getattr(event, "reason", "") for event in engine.events)

    wait_for(denied, "a denial", every=0.05)
    priced = entry("0.1", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(priced)
    assert "stale" in engine.await_end(priced.client_id, OrderDenied).reason, "a price alone ends nothing"
    house.raw_frame(frame(MARKET, SYMBOL, MarketRecovered(SYMBOL, 1, 2, 0)))
    last = entry("0.1", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(last)
    engine.await_end(last.client_id, OrderFilled)


def test_a_market_that_was_stale_before_the_broker_came_gets_no_entry_until_it_is_looked_at_again(
    house: House,
) -> None:
    house.stale[SYMBOL] = "no frame for 20 s"
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    refused = entry("0.1", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(refused)
    assert "stale: no frame for 20 s" in engine.await_end(refused.client_id, OrderDenied).reason
    house.stale.clear()  # its recovery is lost on the bus

    def filled() -> bool:
        house.publish(100.0)
        engine.submit(entry("0.1"))
        engine.read()
        return any(isinstance(event, OrderFilled) for event in engine.events)

    house.until(filled, "an entry")


def test_a_halted_market_is_for_exits_only_until_it_trades_again(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    rules = house.markets[SYMBOL]
    held = entry("2", stop_loss=D(95))
    engine.submit(held)
    engine.await_end(held.client_id, OrderFilled)
    rests = entry("1", kind="limit", limit_price=D(97))
    engine.submit(rests)
    engine.await_end(rests.client_id, OrderAccepted)

    halted = msgspec.structs.replace(rules, active=False)
    house.markets[SYMBOL] = halted
    house.raw_frame(frame(MARKET, SYMBOL, SpecChanged(SYMBOL, 1, 1, 0, halted)))
    refused = entry("1", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(refused)
    assert "not open for trading" in engine.await_end(refused.client_id, OrderDenied).reason
    out = leave("1", market_seq=house.publish(96.0), market_epoch=1)
    engine.submit(out)
    assert engine.await_end(out.client_id, OrderFilled).fill.price == 96
    assert not [event for event in engine.of(rests.client_id) if isinstance(event, OrderFilled)]
    house.publish(94.0)
    stop = wait_for(lambda: _stop_of(engine), "the stop, for what was left")
    assert stop.fill.quantity == 1
    engine.send(CancelOrder(SYMBOL, rests.client_id))
    engine.await_end(rests.client_id, OrderCancelled)

    house.markets[SYMBOL] = rules
    house.raw_frame(frame(MARKET, SYMBOL, SpecChanged(SYMBOL, 1, 2, 0, rules)))
    again = entry("1", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(again)
    engine.await_end(again.client_id, OrderFilled)


def _stop_of(engine: Client) -> Any:
    engine.read()
    stops = {e.client_id for e in engine.events if isinstance(e, OrderSubmitted) and e.intent.role == "stop"}
    return next((e for e in engine.events if isinstance(e, OrderFilled) and e.client_id in stops), None)


def test_new_rules_hold_at_once(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    coarse = msgspec.structs.replace(house.markets[SYMBOL], amount_step=D("0.5"))
    house.markets[SYMBOL] = coarse
    house.raw_frame(frame(MARKET, SYMBOL, SpecChanged(SYMBOL, 1, 1, 0, coarse)))
    order = entry("1.7", market_seq=house.publish(100.0), market_epoch=1)
    engine.submit(order)
    assert engine.await_end(order.client_id, OrderFilled).fill.quantity == D("1.5")
