"""The broker process: each order once, no fill lost, whatever is killed, damaged or full."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.codec import BAR, TICK, frame
from levibot.bus.messages import (
    AccountRequest,
    Bar,
    CancelOrder,
    NotReady,
    OrderCancelled,
    OrderDenied,
    OrderEvents,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Pause,
    ReconcileRequest,
    Resume,
    SymbolsChanged,
)
from levibot.bus.sockets import send
from levibot.clock import boot_ns
from levibot.execution.ledger import Ledger
from levibot.execution.position import cash_flow
from tests.deadline import wait_for
from tests.execution.examples import SYMBOL, D, entry, grant_for, leave
from tests.workers.broker_house import House


def test_an_order_is_filled_and_its_events_come_to_engine_and_supervisor(house: House) -> None:
    house.start_trading()
    engine, supervisor = house.client(), house.client("supervisor")
    assert supervisor.account().cash == 10_000
    engine.reconcile()
    intent = entry("2", stop_loss=D(95), take_profit=D(110))
    engine.submit(intent)
    filled = engine.await_end(intent.client_id, OrderFilled)
    assert filled.fill.quantity == 2
    supervisor.await_end(intent.client_id, OrderFilled)
    answer = engine.reconcile()
    assert answer.position.quantity == 2
    assert {order.role for order in answer.open_orders} == {"stop", "take_profit"}
    assert [event.symbol_seq for event in answer.events] == list(range(1, answer.symbol_seq + 1))
    report = house.until_beat(lambda beat: beat.report.open_orders == 2, "a report").report
    assert report.orders == {"FILLED": 1, "ACCEPTED": 2}
    house.stop()


def test_the_same_intent_sent_again_is_the_same_order(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    intent = entry("2")
    for _ in range(3):
        engine.submit(intent)
    engine.await_end(intent.client_id, OrderFilled)
    house.kill()
    house.start_trading()
    engine.submit(intent)
    marker = entry("1")
    engine.submit(marker)
    engine.await_end(marker.client_id, OrderFilled)
    assert engine.reconcile().position.quantity == 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"expires_ns": 1}, "expired"),
        ({"key": b"forged"}, "not the supervisor's"),
        ({"side": "sell"}, "for a sell"),
        ({"max_quantity": D(1)}, "at most 1"),
        ({"supervisor_epoch": 1}, "epoch"),
        ({"client_id": "replayed"}, "for order replayed"),
    ],
)
def test_an_entry_without_a_live_grant_of_its_own_is_denied(house: House, changed: Any, why: str) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    plain = entry("2", granted=False)
    intent = entry("2", granted=False, client_id=plain.client_id, grant=grant_for(plain, **changed))
    engine.submit(intent)
    assert why in engine.await_end(intent.client_id, OrderDenied).reason
    assert engine.reconcile().position.quantity == 0


@pytest.mark.parametrize("restart", [False, True])
def test_a_stop_fires_while_no_engine_is_there(house: House, restart: bool) -> None:
    house.start_trading()
    engine = house.client("engine-1")
    engine.reconcile()
    intent = entry("2", stop_loss=D(95), take_profit=D(110))
    engine.submit(intent)
    engine.await_end(intent.client_id, OrderFilled)
    protected = engine.reconcile().symbol_seq
    engine.socket.close(0)
    if restart:
        house.kill()
        house.start()
        house.until_beat(lambda beat: beat.ready and not beat.waiting_for, "a recovered broker")

    def fired() -> bool:
        house.publish(90.0)
        report = house.report()  # may be of before the entry
        return report.open_orders == 0 and report.seq > protected

    house.until(fired, "the stop")
    answer = house.client("engine-2").reconcile()
    assert answer.position.quantity == 0
    assert (answer.open_orders, answer.position.realized_pnl) == ([], D("-20.76"))


def test_an_engine_hears_of_its_stop_after_a_broker_restart_without_asking(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    intent = entry("2", stop_loss=D(95))
    engine.submit(intent)
    engine.await_end(intent.client_id, OrderFilled)
    house.kill()
    house.start_trading()
    before = len(engine.events)

    def heard() -> bool:
        house.publish(90.0)
        engine.read()
        return any(isinstance(event, OrderFilled) for event in engine.events[before:])

    house.until(heard, "the fill of the stop")


def test_an_intent_waits_for_the_tick_it_was_decided_on(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    ahead = house.publish(100.0) + 1
    intent = entry("2", market_seq=ahead, market_epoch=1)
    engine.submit(intent)
    assert engine.reconcile(open_ids=[intent.client_id]).unknown_ids == []
    assert house.publish(120.0) == ahead
    assert engine.await_end(intent.client_id, OrderFilled).fill.price == 120


def test_a_tick_that_never_comes_denies_the_entry_and_lets_the_exit_through(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    bought = entry("2")
    engine.submit(bought)
    engine.await_end(bought.client_id, OrderFilled)
    never, out = entry("1", market_seq=10**6, market_epoch=1), leave("2", market_seq=10**6, market_epoch=1)
    engine.submit(never)
    engine.submit(out)
    assert "has not seen tick" in engine.await_end(never.client_id, OrderDenied).reason
    engine.await_end(out.client_id, OrderSubmitted)
    house.publish(101.0)
    assert engine.await_end(out.client_id, OrderFilled).fill.price == 101


def test_an_id_given_up_at_a_reconciliation_never_arrives(house: House) -> None:
    house.start_trading()
    engine = house.client()
    late = entry("1")
    assert engine.reconcile(open_ids=[late.client_id]).unknown_ids == [late.client_id]
    house.kill()
    house.start_trading()
    engine.reconcile()
    engine.submit(late)
    assert "given up" in engine.await_end(late.client_id, OrderDenied).reason


def test_paused_it_opens_nothing_and_still_closes(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    held = entry("2")
    engine.submit(held)
    engine.await_end(held.client_id, OrderFilled)
    house.command(Pause(1))
    refused, out = entry("1"), leave("2")
    engine.submit(refused)
    engine.submit(out)
    assert "paused" in engine.await_end(refused.client_id, OrderDenied).reason
    engine.await_end(out.client_id, OrderFilled)
    house.command(Resume(2))
    again = entry("1")
    engine.submit(again)
    engine.await_end(again.client_id, OrderFilled)


def test_a_cancelled_order_gives_its_cash_back(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    intent = entry("2", kind="limit", limit_price=D(90))
    engine.submit(intent)
    engine.send(CancelOrder(SYMBOL, intent.client_id))
    engine.await_end(intent.client_id, OrderCancelled)
    assert house.client("supervisor").account().open_orders == []


def test_a_missing_feed_is_waited_for(house: House) -> None:
    markets, house.markets = house.markets, {}
    house.start()
    beat = house.until_beat(lambda beat: beat.waiting_for == "feed", "a broker that waits for the feed")
    assert beat.ready
    engine = house.client()
    engine.send(ReconcileRequest(1, SYMBOL, 0, []))
    wait_for(lambda: [engine.read()] and engine.replies, "an answer")
    assert engine.replies == [NotReady(1, "waiting for market")]
    house.markets = markets
    house.until_beat(lambda beat: not beat.waiting_for, "a broker with markets")


def test_symbols_that_are_added_are_served(house: House) -> None:
    house.start_trading()
    house.markets["ETH/USDT"] = house.markets[SYMBOL].__class__(
        "ETH/USDT", "ETH", "USDT", *[getattr(house.markets[SYMBOL], name) for name in _RULES]
    )
    house.command(SymbolsChanged(1, [SYMBOL, "ETH/USDT"]))
    engine = house.client("engine-ETH-USDT")
    engine.send(ReconcileRequest(99, "ETH/USDT", 0, []))

    def filled() -> bool:
        house.publish(50.0, symbol="ETH/USDT")
        engine.send(ReconcileRequest(99, "ETH/USDT", 0, []))
        intent = entry("1", symbol="ETH/USDT")
        engine.submit(intent)
        engine.read()
        return any(isinstance(event, OrderFilled) for event in engine.events)

    house.until(filled, "a fill of the new symbol")


_RULES = ("amount_step", "price_tick", "min_amount", "min_cost", "maker_fee", "taker_fee")


def test_malformed_messages_are_counted_and_nothing_else_stops(house: House) -> None:
    house.start_trading()
    engine, noise = house.client(), house.client("noise")
    engine.reconcile()
    for body in (b"", b"\xc1", b"garbage" * 50, b"\x93\xa5Order"):
        assert send(noise.socket, body)
    noise.submit(entry("1", symbol="no symbol"))
    noise.submit(entry("1", client_id="x" * 40))
    noise.submit(entry("1E+900000"))
    noise.send(AccountRequest(1, 2**64 - 1))
    house.raw_frame(TICK + SYMBOL.encode() + b"\0\xc1")
    house.publish(float("nan"))
    beat = house.until_beat(lambda beat: beat.report.refused_messages >= 10, "the refused messages")
    assert beat.report.refused_messages == 10
    intent = entry("2")
    engine.submit(intent)
    engine.await_end(intent.client_id, OrderFilled)
    noise.read()
    assert noise.replies == []


def test_a_follower_of_the_account_gets_what_it_missed(house: House) -> None:
    house.start_trading()
    engine = house.client()
    engine.reconcile()
    intents = [entry("1") for _ in range(3)]
    for intent in intents:
        engine.submit(intent)
    engine.await_end(intents[-1].client_id, OrderFilled)
    supervisor = house.client("supervisor")
    supervisor.send(AccountRequest(1, 4))
    wait_for(lambda: [supervisor.read()] and supervisor.replies, "the events since 4")
    assert isinstance(supervisor.replies[0], OrderEvents)
    assert [event.seq for event in supervisor.events] == [5, 6, 7, 8, 9]


def test_in_lockstep_everything_is_acknowledged_after_it_was_dealt_with(run_dir: Path) -> None:
    house = House(run_dir, lockstep=True)
    try:
        house.start()
        house.until(lambda: house.joined, "the broker's joining")
        assert (house.joined[0].participant, house.joined[0].symbols) == ("broker", [])

        def acknowledged() -> bool:
            house.publish(100.0, lockstep=True)
            return bool(house.acknowledged)

        house.until(acknowledged, "an acknowledgement")
        bar = Bar("ETH/USDT", 1, 77, 0, 1.0, 1.0, 1.0, 1.0, 1.0, lockstep=True)
        house.raw_frame(frame(BAR, "ETH/USDT", bar))
        house.until(lambda: house.acknowledged[-1].kind == "bar", "the bar's acknowledgement")
        assert house.acknowledged[-1].seq == 77
    finally:
        house.close()


# ---------------------------------------------------------------------- kill -9


def test_killed_at_any_moment_it_loses_and_doubles_nothing(house: House, tmp_path: Path) -> None:
    rng = random.Random(5)
    ledger = Ledger.open(tmp_path / "ledger.sqlite", SYMBOL, "test")
    house.start_trading()
    engine = house.client()
    ledger.reconcile(engine.reconcile())
    for _ in range(6):
        sent = []
        for _ in range(rng.randint(1, 8)):
            quantity = str(Decimal(rng.randint(60, 2_000)) / 1000)
            held = ledger.position.quantity > 0 and rng.random() < 0.4
            client_id = ledger.new_client_id("exit" if held else "entry")
            intent = (
                leave(quantity, client_id=client_id)
                if held
                else entry(quantity, client_id=client_id, stop_loss=D(95), take_profit=D(105))
            )
            ledger.journal(intent)
            engine.submit(intent)
            sent.append(client_id)
        house.publish(rng.choice([94.0, 100.0, 106.0]))
        deadline = boot_ns() + rng.randint(0, 6_000_000)
        while boot_ns() < deadline:
            engine.read()
        house.kill()
        house.start()
        house.price = 100.0
        house.until_trading()
        outcome = ledger.reconcile(engine.reconcile(ledger.last_seq, ledger.open_ids()))
        assert outcome.drift == 0
        assert not outcome.broker_behind
        assert not [client_id for client_id in sent if client_id in ledger.open_ids()]
    _check_books(house, ledger)
    ledger.close()


def _check_books(house: House, ledger: Ledger) -> None:
    answer = house.client("auditor").reconcile()
    account = house.client("supervisor").account()
    assert [event.symbol_seq for event in answer.events] == list(range(1, answer.symbol_seq + 1))
    assert [event.seq for event in answer.events] == list(range(1, account.seq + 1))
    submitted = [event.intent for event in answer.events if isinstance(event, OrderSubmitted)]
    assert len({intent.client_id for intent in submitted}) == len(submitted)
    sides = {intent.client_id: intent.side for intent in submitted}
    fills = [event for event in answer.events if isinstance(event, OrderFilled | OrderPartiallyFilled)]
    assert fills, "nothing was traded, so nothing was proved"
    cash = D(10_000) + sum(cash_flow(sides[event.client_id], event.fill, "USDT") for event in fills)
    held = sum(event.fill.quantity * (1 if sides[event.client_id] == "buy" else -1) for event in fills)
    assert account.cash == cash
    assert answer.position.quantity == held == ledger.position.quantity
    profit = ledger.total_pnl(D(100))
    assert abs(account.cash + held * 100 - 10_000 - profit) < D("0.01")
    assert list(ledger.history()) == answer.events
