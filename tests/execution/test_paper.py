"""The paper exchange fills as a real one would, refuses by name, and forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from levibot.bus.messages import Intent, OrderDenied, OrderFilled, OrderSubmitted
from levibot.errors import FullDiskError
from tests.execution.examples import EPOCH, SYMBOL, D, Desk, entry, grant_for, leave, market, names, reason, tick
from tests.full_disk import full_disk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "broker.sqlite")
    yield made
    made.books.close()


def _long(desk: Desk, quantity: str = "2", price: float = 100.0, **protection: Any) -> None:
    desk.price(price)
    desk.exchange.submit(entry(quantity, **protection))
    assert desk.position() == D(quantity)


# ---------------------------------------------------------------------- market orders


def test_a_market_order_pays_spread_slippage_and_fee(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "b.sqlite", slippage=0.001)
    desk.exchange.on_tick(tick(100.0, bid=99.0, ask=101.0))
    events = desk.exchange.submit(entry("2"))
    assert names(events) == ["Submitted", "Accepted", "Filled"]
    assert isinstance(events[-1], OrderFilled)
    fill = events[-1].fill
    assert (fill.price, fill.quantity, fill.liquidity) == (D("101.11"), 2, "taker")  # 101.101, rounded up
    assert fill.fee == D("0.40444")
    assert desk.books.cash == D(10_000) - D("202.22") - D("0.40444")
    sold = desk.exchange.submit(leave("2"))[-1]
    assert isinstance(sold, OrderFilled)
    assert sold.fill.price == D("98.90")  # 98.901, rounded down
    desk.books.close()


def test_without_a_book_the_assumed_spread_is_paid(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "b.sqlite", spread=0.02)
    desk.exchange.on_tick(tick(100.0, bid=0.0, ask=0.0))
    bought = desk.exchange.submit(entry("2"))[-1]
    assert isinstance(bought, OrderFilled)
    assert bought.fill.price == 101
    desk.books.close()


def test_the_same_intent_again_changes_nothing(desk: Desk) -> None:
    desk.price(100)
    intent = entry("2")
    assert desk.exchange.submit(intent)
    assert desk.exchange.submit(intent) == []
    desk.restart()
    desk.price(100)
    assert desk.exchange.submit(intent) == []
    assert desk.position() == 2


def test_a_quantity_is_rounded_down_to_the_step(desk: Desk) -> None:
    desk.price(100)
    events = desk.exchange.submit(entry("1.23456"))
    assert desk.position() == D("1.234")
    assert isinstance(events[0], OrderSubmitted)
    assert events[0].intent.quantity == D("1.23456")  # as it was sent


@pytest.mark.parametrize(
    ("intent", "why"),
    [
        (entry("0.0004"), "precision: the quantity is below the step of amounts, 0.001 BTC"),
        (entry("0.049"), "min_cost: cost 4.9 USDT is below min_cost 5: at 100 at least 0.05 BTC would pass"),
        (entry("100"), "no_cash: not enough USDT: 10020 needed, 10000 free"),
        (entry("1", side="sell"), "no_short: "),
        (entry("1", stop_loss=D(101)), "stop_loss 101 would fire at once"),
        (entry("1", take_profit=D(99)), "take_profit 99 would fire at once"),
        (entry("0.0505", stop_loss=D(98)), "not_closable: dust at its stop: 0.05 BTC at 98"),
        (entry("1", kind="limit", limit_price=D("0.004")), "limit_price is below the price tick 0.01"),
        (entry("1E+18", kind="limit", limit_price=D("1E+18")), "not enough USDT"),
        (entry("1", kind="trailing_stop", trailing_offset=D(1)), "must be reduce_only"),
        (entry("1", trailing_offset=D(1)), "needs trailing_offset, and no other order has one"),
        (entry("1", trailing_stop=D(100)), "crossed: trailing_stop 100 is a distance as large as the price"),
        (entry("1", trigger_price=D(100)), "has no trigger_price"),
        (entry("1", limit_price=D(100)), "has no limit_price"),
        (entry("1", time_in_force="ioc"), "post_only and ioc need a limit order"),
        (entry("1", kind="limit", limit_price=D(90), time_in_force="ioc", post_only=True), "post_only rests"),
        (entry("1", kind="limit"), "needs limit_price"),
        (entry("1", kind="stop", trigger_price=D(110)), "must be reduce_only"),
        (entry("-1"), "must be a positive number"),
        (entry("1", role="exit"), "an entry is not reduce_only"),
        (entry("1", granted=False), "no grant"),
        (leave("1"), "nothing_to_reduce: "),
        (entry("1", symbol="ETH/USDT"), "rules of ETH/USDT are not known"),
    ],
)
def test_what_cannot_be_done_is_denied_by_name(desk: Desk, intent: Intent, why: str) -> None:
    desk.price(100)
    events = desk.exchange.submit(intent)
    assert names(events) == ["Submitted", "Denied"]
    assert why in reason(events)
    assert (desk.books.cash, desk.books.open) == (10_000, {})


def test_prices_of_a_few_ticks_and_quantities_of_billions_add_up(desk: Desk) -> None:
    desk.markets = [market(amount_step=D(1), price_tick=D("1E-8"), min_amount=D(1))]
    desk.restart()
    desk.price(0.00000123)
    desk.exchange.submit(entry("8000000000", stop_loss=D("0.00000120"), take_profit=D("0.00000130")))
    assert desk.position() == 8_000_000_000
    assert desk.books.cash == 10_000 - D("9840") - D("19.68")
    desk.restart()
    assert desk.price(0.00000119) == ["Triggered", "Filled", "Cancelled"]
    assert desk.position() == 0
    assert desk.books.cash == 10_000 - D("9840") - D("19.68") + D("9520") - D("19.04")
    assert desk.books.position(SYMBOL).realized_pnl == desk.books.cash - 10_000


def test_what_a_denial_says_would_pass_does_pass(desk: Desk) -> None:
    desk.price(100)
    assert "at most 99.8 BTC would pass" in reason(desk.exchange.submit(entry("100")))
    assert names(desk.exchange.submit(entry("99.8")))[-1] == "Filled"
    assert desk.books.cash >= 0


def test_a_grant_is_good_for_no_more_than_it_says(desk: Desk) -> None:
    desk.price(100)
    intent = entry("2", granted=False, client_id="mine")
    grant = grant_for(intent, max_quantity=D("1.9"), supervisor_epoch=EPOCH)
    events = desk.exchange.submit(entry("2", granted=False, client_id="mine-2"))
    assert "no grant" in reason(events)
    too_big = msgspec.structs.replace(intent, grant=grant)
    assert "allows at most 1.9" in reason(desk.exchange.submit(too_big))


# ---------------------------------------------------------------------- stale prices


def test_an_entry_never_waits_for_a_price_and_an_exit_does(desk: Desk) -> None:
    _long(desk)
    old = desk.now_ns() - 60_000_000_000
    desk.exchange.on_tick(tick(90.0, received_ns=old))
    assert "60.0 s old" in reason(desk.exchange.submit(entry("1")))
    assert names(desk.exchange.submit(leave("2"))) == ["Submitted", "Accepted"]
    desk.restart()
    assert desk.price(80.0) == ["Filled"]
    assert desk.position() == 0
    assert desk.books.cash == D(10_000) - D("200.4") + D("159.68")


def test_an_old_price_fires_no_stop(desk: Desk) -> None:
    _long(desk, stop_loss=D(95))
    assert desk.price(90.0, received_ns=desk.now_ns() - 60_000_000_000) == []
    assert desk.price(94.0) == ["Triggered", "Filled"]


# ---------------------------------------------------------------------- exits


def test_an_exit_never_flips_a_position(desk: Desk) -> None:
    _long(desk, "2")
    events = desk.exchange.submit(leave("5"))
    assert names(events) == ["Submitted", "Accepted", "PartiallyFilled", "Cancelled"]
    assert desk.position() == 0


def test_dust_is_named(desk: Desk) -> None:
    _long(desk, "1")
    desk.exchange.submit(leave("0.96"))
    assert "dust: min_cost: cost 4 USDT is below min_cost 5" in reason(desk.exchange.submit(leave("0.04")))


# ---------------------------------------------------------------------- limit orders


def test_a_resting_limit_fills_as_maker_only_when_the_price_trades_through(desk: Desk) -> None:
    desk.price(100)
    assert names(desk.exchange.submit(entry("2", kind="limit", limit_price=D("95.004")))) == [
        "Submitted",
        "Accepted",
    ]
    assert desk.books.available_cash() == D(10_000) - D("190.38")
    assert desk.price(95.0) == []  # touched, not through: others are ahead of us
    desk.restart()
    assert desk.price(94.0) == ["Filled"]
    assert desk.books.cash == D(10_000) - D("190") - D("0.19")
    assert desk.books.available_cash() == desk.books.cash


def test_what_was_traded_before_a_limit_order_was_there_fills_it_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "b.sqlite", latency=0.05)
    inside = {"bid": 98.0, "ask": 100.0, "last": 98.0, "volume": 1.0}
    desk.price(99.0, **inside)
    for _ in range(2):
        desk.exchange.submit(entry("1", kind="limit", limit_price=D(99)))
        desk.ahead_ns += 60_000_000
        assert names(desk.exchange.on_timer()) == ["Accepted"]
    assert desk.price(99.0, **{**inside, "volume": 0.0}) == [], "the last trade is none of now"
    assert desk.price(0.0, bid=0.0, ask=0.0, last=100.0) == [], "no quote is no price"
    assert desk.price(99.0, **inside) == ["Filled", "Filled"]
    desk.books.close()


def test_a_sale_that_rests_goes_no_shorter_than_the_market_allows(desk: Desk) -> None:
    _long(desk, "2")
    desk.exchange.submit(entry("2", side="sell", kind="limit", limit_price=D(110)))
    desk.exchange.submit(leave("1.5"))
    assert desk.price(120.0) == ["PartiallyFilled", "Cancelled"]
    assert desk.position() == 0
    assert not desk.books.open


def test_a_crossing_limit_is_a_taker_and_no_worse_than_its_price(desk: Desk) -> None:
    desk.price(100)
    filled = desk.exchange.submit(entry("2", kind="limit", limit_price=D(105)))[-1]
    assert isinstance(filled, OrderFilled)
    assert (filled.fill.price, filled.fill.liquidity) == (100, "taker")


def test_post_only_is_rejected_when_it_would_cross(desk: Desk) -> None:
    desk.price(100)
    events = desk.exchange.submit(entry("2", kind="limit", limit_price=D(100), post_only=True))
    assert names(events) == ["Submitted", "Rejected"]


def test_reserved_cash_cannot_be_spent_twice(desk: Desk) -> None:
    desk.price(100)
    desk.exchange.submit(entry("99", kind="limit", limit_price=D(90)))
    assert "not enough USDT" in reason(desk.exchange.submit(entry("50")))
    (resting,) = desk.books.open
    assert names(desk.exchange.cancel(SYMBOL, resting)) == ["Cancelled"]
    assert desk.exchange.cancel(SYMBOL, resting) == []
    assert names(desk.exchange.submit(entry("50")))[-1] == "Filled"


# ---------------------------------------------------------------------- protection


def test_one_of_the_pair_fires_and_cancels_the_other(desk: Desk) -> None:
    _long(desk, stop_loss=D(95), take_profit=D(110))
    assert {order.intent.role for order in desk.books.open.values()} == {"stop", "take_profit"}
    assert desk.price(109.99) == []
    assert desk.price(110) == ["Triggered", "Filled", "Cancelled"]
    assert (desk.position(), desk.books.open) == (0, {})


def test_a_stop_outlives_a_restart_and_fires_when_it_was_crossed_meanwhile(desk: Desk) -> None:
    _long(desk, stop_loss=D(95), take_profit=D(110))
    desk.restart()
    assert desk.price(80) == ["Triggered", "Filled", "Cancelled"]
    assert desk.books.cash == D(10_000) - D("200.4") + D("159.68")


def test_each_fill_has_its_own_protection(desk: Desk) -> None:
    _long(desk, "2", stop_loss=D(95))
    desk.exchange.submit(entry("1", stop_loss=D(90)))
    assert desk.price(94) == ["Triggered", "Filled"]
    assert desk.position() == 1
    assert desk.price(89) == ["Triggered", "Filled"]
    assert desk.position() == 0


def test_closing_the_position_cancels_its_protection(desk: Desk) -> None:
    _long(desk, stop_loss=D(95), take_profit=D(110))
    assert names(desk.exchange.submit(leave("2"))) == ["Submitted", "Accepted", "Filled", "Cancelled", "Cancelled"]
    assert desk.books.open == {}


def test_a_stop_never_sells_more_than_is_held(desk: Desk) -> None:
    _long(desk, "2", stop_loss=D(95))
    desk.exchange.submit(leave("1.5"))
    assert desk.price(90) == ["Triggered", "Filled"]
    assert desk.position() == 0


def test_an_entry_that_falls_through_its_stop_is_left_at_once(desk: Desk) -> None:
    desk.price(100)
    desk.exchange.submit(entry("2", kind="limit", limit_price=D(98), stop_loss=D(95), take_profit=D(110)))
    events = desk.price(90)
    assert events[:1] == ["Filled"]
    assert (desk.position(), desk.books.open) == (0, {})


def test_a_stop_that_cannot_be_placed_is_an_emergency_exit(desk: Desk) -> None:
    desk.price(100)
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(98), stop_loss=D(95)))
    desk.exchange.set_market(market(min_cost=D(97)))
    events = desk.exchange.on_tick(tick(97.5))
    assert names(events) == ["Filled", "Submitted", "Denied", "Submitted", "Accepted", "Filled"]
    assert desk.position() == 0


def test_what_is_too_small_even_for_an_emergency_exit_is_named_dust(desk: Desk) -> None:
    desk.price(100)
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(98), stop_loss=D(95)))
    desk.exchange.set_market(market(min_cost=D(1000)))
    events = desk.exchange.on_tick(tick(97.5))
    assert isinstance(events[-1], OrderDenied)
    assert "unprotected, for its stop" in events[-1].reason
    assert desk.position() == 1


def test_a_short_where_it_is_allowed_is_protected_above(desk: Desk) -> None:
    desk.markets[0] = market(can_short=True)
    desk.exchange.set_market(desk.markets[0])
    desk.price(100)
    desk.exchange.submit(entry("10", side="sell", stop_loss=D(105), take_profit=D(90)))
    assert desk.position() == -10
    assert desk.books.available_cash() < D(9_000)  # proceeds are no buying power
    assert desk.price(106) == ["Triggered", "Filled", "Cancelled"]
    assert desk.position() == 0


# ---------------------------------------------------------------------- the disk


def test_a_full_disk_changes_nothing_and_space_heals_it(desk: Desk) -> None:
    _long(desk, stop_loss=D(95))
    before = (desk.books.cash, desk.position(), desk.books.seq, set(desk.books.open))
    with full_disk():
        with pytest.raises(FullDiskError):
            desk.exchange.submit(entry("1"))
        with pytest.raises(FullDiskError):
            desk.exchange.on_tick(tick(90.0))
    assert (desk.books.cash, desk.position(), desk.books.seq, set(desk.books.open)) == before
    assert desk.price(90.0) == ["Triggered", "Filled"]
    assert [event.seq for event in desk.books.events_since(0)] == list(range(1, desk.books.seq + 1))


def test_the_start_money_is_given_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "b.sqlite", cash="500")
    desk.books.close()
    again = Desk(tmp_path / "b.sqlite", cash="900")
    assert again.books.cash == Decimal(500)
    again.books.close()
