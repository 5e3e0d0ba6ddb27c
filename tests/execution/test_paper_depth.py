"""Where the feed has an order book, orders walk it as takers and wait their turn as makers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.bus.messages import OrderFilled
from tests.execution.examples import (
    SYMBOL,
    D,
    Desk,
    bar,
    book,
    entry,
    fills,
    leave,
    market,
    names,
    reason,
    tick,
    trades,
)

MINUTE_NS = 60_000_000_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "broker.sqlite")
    made.exchange.on_tick(tick(100.0, bid=99.0, ask=101.0))
    made.flow(book("99x2 98x3 90x50", "101x2 102x3 110x50"))
    yield made
    made.books.close()


# ---------------------------------------------------------------------- takers


def test_a_market_order_is_filled_level_by_level(desk: Desk) -> None:
    events = desk.exchange.submit(entry("4"))
    assert names(events) == ["Submitted", "Accepted", "PartiallyFilled", "Filled"]
    assert fills(events) == [(2, 101, "taker"), (2, 102, "taker")]
    assert desk.books.cash == 10_000 - D(406) * D("1.002")


def test_what_one_has_taken_the_next_does_not_get_until_a_new_book_comes(desk: Desk) -> None:
    desk.exchange.submit(entry("4"))
    assert fills(desk.exchange.submit(entry("2"))) == [(1, 102, "taker"), (1, 110, "taker")]
    desk.flow(book("99x2", "101x2 102x3"))
    assert fills(desk.exchange.submit(entry("2"))) == [(2, 101, "taker")]


def test_an_entry_that_the_book_cannot_fill_is_cut_and_an_exit_goes_on_with_the_next_book(desk: Desk) -> None:
    desk.flow(book("99x2", "101x2"))
    events = desk.exchange.submit(entry("3", stop_loss=D(90)))
    assert names(events) == ["Submitted", "Accepted", "PartiallyFilled", "Submitted", "Accepted", "Cancelled"]
    assert reason(events) == "book_exhausted: nobody is left in the book for 1"
    assert [order.remaining for order in desk.books.open.values()] == [2]
    desk.flow(book("99x0.5", "101x2"))
    assert names(desk.exchange.submit(leave("2"))) == ["Submitted", "Accepted", "PartiallyFilled", "Updated"]
    assert desk.flow(book("95x9", "101x2")) == ["Filled", "Cancelled"]
    assert desk.position() == 0
    assert desk.books.cash == 10_000 - D(202) * D("1.002") + D("49.5") * D("0.998") + D("142.5") * D("0.998")


def test_amounts_of_the_book_are_cut_to_the_steps_of_the_market(desk: Desk) -> None:
    desk.flow(book("99x1", "101x0.0019 102x0.0004 103x9"))
    assert fills(desk.exchange.submit(entry("1"))) == [(D("0.001"), 101, "taker"), (D("0.999"), 103, "taker")]


def test_the_cash_must_suffice_for_all_levels(desk: Desk) -> None:
    desk.flow(book("99x1", "101x1 200x99"))
    assert reason(desk.exchange.submit(entry("60"))).startswith("no_cash: not enough USDT")
    assert names(desk.exchange.submit(entry("40")))[-1] == "Filled"
    assert desk.books.cash > 0


def test_a_stop_takes_what_there_is_and_goes_on(desk: Desk) -> None:
    desk.exchange.submit(entry("2", stop_loss=D(95), take_profit=D(130)))
    desk.flow(book("94x0.5", "101x2"))
    assert desk.price(94.5) == ["Triggered", "PartiallyFilled", "Cancelled"]
    assert desk.price(97.0) == [], "it has fired, and nobody buys"
    desk.restart()
    assert desk.price(97.0) == ["Filled"], "without a book at the quote"
    assert desk.position() == 0


# ---------------------------------------------------------------------- limit orders


def test_a_crossing_limit_takes_up_to_its_price_and_rests_with_the_remainder(desk: Desk) -> None:
    events = desk.exchange.submit(entry("4", kind="limit", limit_price=D("101.5")))
    assert fills(events) == [(2, 101, "taker")]
    (resting,) = desk.books.open.values()
    assert (resting.remaining, resting.reserved) == (2, D(203) * D("1.002"))
    assert desk.flow(trades(("sell", 101.5, 0.5))) == ["PartiallyFilled"]
    assert resting.reserved == D("152.25") * D("1.002")
    assert desk.books.available_cash() == desk.books.cash - resting.reserved
    assert desk.flow(trades(("sell", 101.4, 0.001))) == ["Filled"]
    assert desk.books.available_cash() == desk.books.cash


def test_it_waits_until_the_queue_ahead_is_consumed(desk: Desk) -> None:
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(98)))
    assert desk.flow(trades(("sell", 98.0, 2.5))) == []
    assert desk.flow(trades(("buy", 98.0, 50.0))) == [], "no taker of the other side"
    assert desk.flow(trades(("sell", 98.0, 0.8))) == ["PartiallyFilled"]
    (order,) = desk.books.open.values()
    assert order.filled == D("0.3")
    assert desk.flow(trades(("sell", 98.0, 5.0))) == ["Filled"]
    assert desk.books.cash == 10_000 - D(98) * D("1.001")


def test_whoever_leaves_the_queue_shortens_it_and_whoever_comes_stands_behind(desk: Desk) -> None:
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(98)))
    desk.flow(book("99x2 98x1", "101x2"))
    desk.flow(book("99x2 98x40", "101x2"))
    assert desk.flow(trades(("sell", 98.0, 1.2))) == ["PartiallyFilled"]


def test_a_trade_serves_one_order_and_the_older_first(desk: Desk) -> None:
    first, second = (entry("1", kind="limit", limit_price=D("99.5")) for _ in range(2))
    desk.exchange.submit(first)
    desk.exchange.submit(second)
    desk.flow(trades(("sell", 99.5, 1.5)))
    assert first.client_id not in desk.books.open
    assert desk.books.open[second.client_id].filled == D("0.5")


def test_below_what_the_book_shows_only_a_trade_through_counts(desk: Desk) -> None:
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(80)))
    assert desk.flow(trades(("sell", 80.0, 500.0))) == []
    assert desk.flow(trades(("sell", 79.0, 0.001))) == ["Filled"]


def test_backfilled_trades_come_too_late(desk: Desk) -> None:
    desk.exchange.submit(entry("1", kind="limit", limit_price=D(98)))
    assert desk.flow(trades(("sell", 97.0, 9.0), backfilled=True)) == []


def test_a_book_that_has_come_to_the_limit_fills_what_it_offers(desk: Desk) -> None:
    desk.exchange.submit(entry("3", kind="limit", limit_price=D(98)))
    assert desk.flow(book("97x1", "98x2 99x9")) == ["PartiallyFilled"]
    assert desk.flow(book("96x1", "97x2 99x9")) == ["Filled"]
    assert desk.books.cash == 10_000 - D(294) * D("1.001"), "a maker, at its own price"


def test_post_only_meets_the_book(desk: Desk) -> None:
    post = {"kind": "limit", "post_only": True}
    events = desk.exchange.submit(entry("1", limit_price=D(101), **post))
    assert reason(events) == "post_only: 101 would cross the market, 101"
    assert names(desk.exchange.submit(entry("1", limit_price=D("100.99"), **post)))[-1] == "Accepted"


@pytest.mark.parametrize(("limit", "filled"), [("101", 2), ("102", 4), ("100", 0)])
def test_ioc_fills_at_once_or_not_at_all(desk: Desk, limit: str, filled: int) -> None:
    order = entry("4", kind="limit", limit_price=D(limit), time_in_force="ioc")
    events = desk.exchange.submit(order)
    assert desk.position() == filled
    assert (desk.books.open, desk.books.available_cash()) == ({}, desk.books.cash)
    if filled < 4:
        assert reason(events) == f"ioc: {4 - filled} could not be filled at once"


# ---------------------------------------------------------------------- one cancels the other


def test_of_a_group_the_first_fill_cancels_the_others(desk: Desk) -> None:
    desk.exchange.submit(entry("2"))
    target = leave("2", kind="limit", limit_price=D(105), oco="pair")
    stop = leave("2", kind="stop", trigger_price=D(95), oco="pair")
    desk.exchange.submit(target)
    desk.exchange.submit(stop)
    desk.flow(trades(("buy", 105.0, 0.5)))
    assert desk.books.open[target.client_id].filled == D("0.5")
    assert stop.client_id not in desk.books.open
    (cancelled,) = (event for event in desk.books.events_since(0) if "oco: " in getattr(event, "reason", ""))
    assert cancelled.client_id == stop.client_id


def test_a_stop_limit_is_no_worse_than_its_limit(desk: Desk) -> None:
    desk.exchange.submit(entry("2"))
    desk.exchange.submit(leave("2", kind="stop", trigger_price=D(98), limit_price=D(98)))
    desk.flow(book("98x0.5 90x9", "101x2"))
    assert desk.price(97.0) == ["Triggered", "PartiallyFilled"]
    assert desk.flow(book("97x9", "98x1")) == []
    assert desk.flow(trades(("buy", 98.1, 0.1))) == ["Filled"]
    sold = [event.fill.price for event in desk.books.events_since(0) if isinstance(event, OrderFilled)]
    assert sold[-1] == 98


# ---------------------------------------------------------------------- protection


def test_one_stop_grows_with_each_fill(desk: Desk) -> None:
    desk.exchange.submit(entry("3", kind="limit", limit_price=D(98), stop_loss=D(95), take_profit=D(110)))
    desk.flow(book("97x9", "98x0.01 99x9"))
    assert len(desk.books.open) == 1, "too little for a stop yet"
    assert desk.flow(book("97x9", "98x1 99x9")) == ["PartiallyFilled", *["Submitted", "Accepted"] * 2]
    assert desk.flow(book("97x9", "98x1 99x9")) == ["PartiallyFilled", "Updated", "Updated"]
    assert sorted(order.remaining for order in desk.books.open.values()) == [D("0.99"), D("2.01"), D("2.01")]
    desk.restart()
    desk.exchange.on_tick(tick(97.0, bid=96.9, ask=97.1))
    assert sorted(order.remaining for order in desk.books.open.values()) == [3, 3]
    assert desk.price(94.0) == ["Triggered", "Filled", "Cancelled"]
    assert desk.position() == 0


def test_a_stop_that_fires_ends_the_entry(desk: Desk) -> None:
    resting = entry("3", kind="limit", limit_price=D(98), stop_loss=D(95))
    desk.exchange.submit(resting)
    desk.flow(book("97x9", "98x1 99x9"))
    desk.flow(book("94x9", "99x9"))
    assert desk.price(94.5) == ["Triggered", "Filled", "Cancelled"]
    assert (desk.position(), desk.books.open) == (0, {})


def test_the_rest_of_an_exit_is_protected_and_no_more(desk: Desk) -> None:
    desk.exchange.submit(entry("2", stop_loss=D(95), take_profit=D(130)))
    assert names(desk.exchange.submit(leave("1.5")))[2:] == ["Filled", "Updated", "Updated"]
    assert [order.remaining for order in desk.books.open.values()] == [D("0.5")] * 2
    events = desk.exchange.submit(leave("0.48"))
    assert names(events)[3:] == ["Cancelled", "Cancelled"]
    assert reason(events) == "dust: 0.02 BTC is left, too little for an order"
    assert desk.exchange.unprotected() == []


def test_dust_that_a_cancelled_entry_leaves_is_named(desk: Desk) -> None:
    resting = entry("3", kind="limit", limit_price=D(98), stop_loss=D(95))
    desk.exchange.submit(resting)
    desk.flow(book("97x9", "98x0.01 99x9"))
    events = desk.exchange.cancel(SYMBOL, resting.client_id)
    assert names(events) == ["Cancelled", "Submitted", "Denied", "Submitted", "Denied"]
    assert reason(events).startswith("dust: min_cost: cost 0.97 USDT is below min_cost 5")
    assert desk.exchange.unprotected() == []


def test_a_trailing_stop_protects_and_follows(desk: Desk) -> None:
    desk.exchange.submit(entry("2", stop_loss=D(80), trailing_stop=D(10)))
    (trailing,) = (order for order in desk.books.open.values() if order.intent.kind == "trailing_stop")
    assert (trailing.intent.trigger_price, trailing.intent.role) == (90, "stop")
    assert desk.price(100.9) == [], "less than a step"
    assert desk.price(108.0) == ["Updated"]
    assert desk.price(101.0) == []
    desk.restart()
    assert desk.price(98.5) == []
    assert desk.price(97.9) == ["Triggered", "Filled", "Cancelled"]
    assert (desk.position(), desk.books.open) == (0, {})


def test_a_trailing_stop_of_its_own_begins_at_the_price_there_is(desk: Desk) -> None:
    desk.exchange.submit(entry("2"))
    order = leave("2", kind="trailing_stop", trailing_offset=D(4))
    assert names(desk.exchange.submit(order)) == ["Submitted", "Accepted", "Updated"]
    assert desk.books.open[order.client_id].intent.trigger_price == 96


# ---------------------------------------------------------------------- data that cannot be trusted


def test_nothing_is_filled_on_an_old_book_unless_a_young_quote_agrees(desk: Desk) -> None:
    desk.exchange.submit(entry("1"))
    old = desk.now_ns() - MINUTE_NS
    desk.flow(book("99x2", "101x2", received_ns=old))
    assert names(desk.exchange.submit(entry("1")))[-1] == "Filled", "a quiet market sends no new book"
    desk.exchange.on_tick(tick(100.0, bid=99.5, ask=100.5))
    assert "stale_price: the newest order book of BTC/USDT is 6" in reason(desk.exchange.submit(entry("1")))
    assert names(desk.exchange.submit(leave("2"))) == ["Submitted", "Accepted"]
    assert desk.flow(book("99.5x9", "100.5x2")) == ["Filled"]


def test_a_crossed_book_is_none(desk: Desk) -> None:
    assert desk.flow(book("105x9", "101x9")) == []
    assert fills(desk.exchange.submit(entry("1"))) == [(1, 101, "taker")]


def test_a_stale_market_fills_nothing_and_a_stop_fires_with_the_first_price_after_it(desk: Desk) -> None:
    desk.exchange.submit(entry("2", stop_loss=D(95)))
    resting = entry("1", kind="limit", limit_price=D(98))
    desk.exchange.submit(resting)
    desk.exchange.set_market(market(), "no frame for 4 s")
    assert reason(desk.exchange.submit(entry("1"))) == (
        "market_stale: the market data of BTC/USDT is stale: no frame for 4 s"
    )
    assert desk.price(90.0) == []
    assert desk.flow(trades(("sell", 90.0, 9.0))) == []
    assert names(desk.exchange.submit(leave("1"))) == ["Submitted", "Accepted"]
    ioc = leave("1", kind="limit", limit_price=D(80), time_in_force="ioc")
    assert reason(desk.exchange.submit(ioc)).startswith("market_stale: ")
    desk.exchange.set_market(market(), "still")
    desk.exchange.set_market(market())
    assert desk.exchange.resume(SYMBOL) == [], "the newest price was seen before it was trusted again"
    kinds = desk.price(90.0)
    assert kinds == ["Triggered", "Filled", "Cancelled", "Filled"], "the stop, before the exit, and the entry"
    assert desk.position() == 1


# ---------------------------------------------------------------------- without a book


def test_a_large_order_moves_the_price_where_there_are_only_bars(tmp_path: Path) -> None:
    made = Desk(tmp_path / "bars.sqlite", cash="1000000")
    made.price(100.0)
    for number in range(3):
        made.flow(bar(number, 99.0, 101.0, 50.0))
    prices = [fills(made.exchange.submit(entry(size)))[0][1] for size in ("0.5", "50", "200")]
    # σ = ln(101/99) / √(4 ln 2) = 1.2012 % a bar; √(Q / V) = 0.1, 1 and 2
    assert prices == [D("100.13"), D("101.21"), D("102.41")]
    made.books.close()


def test_a_market_that_opens_pays_no_impact_and_a_coefficient_of_0_turns_it_off(tmp_path: Path) -> None:
    made = Desk(tmp_path / "bars.sqlite", impact=0.0)
    made.price(100.0)
    made.flow(bar(1, 90.0, 110.0, 0.1))
    assert fills(made.exchange.submit(entry("50")))[0][1] == 100
    made.books.close()
