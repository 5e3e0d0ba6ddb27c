"""What a paper account can pay for: nothing is spent that is not there, or held back for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.bus.messages import Fill
from levibot.execution.collateral import cash_taken, opening, reserve_for
from levibot.execution.position import flat
from tests.execution.examples import SYMBOL, D, Desk, book, entry, leave, market, names, reason, trades


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """With a market that can be sold short."""
    made = Desk(tmp_path / "broker.sqlite")
    made.markets = [market(can_short=True)]
    made.exchange.set_market(made.markets[0])
    made.price(100.0)
    yield made
    made.books.close()


def test_a_sale_of_what_is_held_sets_no_cash_aside(desk: Desk) -> None:
    desk.exchange.submit(entry("99"))
    free = desk.books.available_cash()
    desk.exchange.submit(entry("60", side="sell", kind="limit", limit_price=D(105)))
    assert desk.books.available_cash() == free < 100
    told = reason(desk.exchange.submit(entry("60", side="sell", kind="limit", limit_price=D(105))))
    assert told.startswith("no_cash"), "21 of them would be short"
    assert "at most 39.762 BTC would pass" in told
    (resting,) = desk.books.open.values()
    desk.exchange.submit(entry("39.5", side="sell", kind="limit", limit_price=D(105)))
    short = desk.books.available_cash() - free
    assert short == -D("0.5") * 105 * D("1.002")
    desk.restart()
    assert desk.price(106.0) == ["Filled", "Filled"]
    assert desk.position() == D("-0.5")
    assert desk.books.available_cash() == desk.books.cash - 105
    assert resting.intent.client_id not in desk.books.open


def test_a_short_is_paid_for_at_the_price_that_it_gets_and_not_at_a_limit_far_below(desk: Desk) -> None:
    events = desk.exchange.submit(entry("900", side="sell", kind="limit", limit_price=D(10)))
    assert names(events) == ["Submitted", "Accepted", "Cancelled"]
    assert reason(events) == "no_cash: 90180 needed, 10000 free"
    assert (desk.position(), desk.books.available_cash()) == (0, 10_000)


def test_a_sale_whose_long_is_gone_meanwhile_opens_no_short_that_cannot_be_paid(desk: Desk) -> None:
    desk.exchange.submit(entry("99"))
    desk.exchange.submit(entry("99", side="sell", kind="limit", limit_price=D(110)))
    desk.price(90.0)
    desk.exchange.submit(leave("99"))
    free = desk.books.available_cash()
    assert free == desk.books.cash
    assert desk.price(111.0) == ["Cancelled"]
    assert (desk.position(), desk.books.available_cash()) == (0, free)


def test_what_a_partial_fill_leaves_is_still_set_aside(desk: Desk) -> None:
    desk.exchange.submit(entry("10"))
    desk.exchange.submit(entry("30", side="sell", kind="limit", limit_price=D(101)))
    (resting,) = desk.books.open.values()
    assert resting.reserved == 20 * 101 * D("1.002")
    for offered, left in ((5, 20), (15, 10), (5, 5)):
        desk.flow(book(f"101x{offered}", "102x1"))
        assert resting.reserved == left * 101 * D("1.002")
        assert desk.books.available_cash() > 0
    assert desk.position() == -15


def test_fees_of_many_fills_add_up_to_what_was_set_aside_for_one(tmp_path: Path) -> None:
    rules = market(amount_step=D("0.00001"), taker_fee=D("0.001"))
    quantity, limit = D("1.00001"), D("99.99")
    made = Desk(tmp_path / "b.sqlite", cash=str(reserve_for(quantity, limit, rules)))
    made.markets = [rules]
    made.exchange.set_market(rules)
    made.price(100.0)
    made.flow(book("99x1", "101x1"))
    made.exchange.submit(entry(str(quantity), kind="limit", limit_price=limit))
    (resting,) = made.books.open.values()
    for part in (0.33333, 0.33333, 0.11111):
        assert made.flow(trades(("sell", float(limit), part))) == ["PartiallyFilled"]
        assert resting.reserved == reserve_for(resting.remaining, limit, rules) == made.books.cash
    assert made.flow(trades(("sell", float(limit), 9.0))) == ["Filled"]
    assert (made.books.cash, made.position()) == (0, quantity)
    made.books.close()


def test_what_was_set_aside_for_an_order_is_its_own_after_funding_was_paid(tmp_path: Path) -> None:
    made, swap = Desk(tmp_path / "swap.sqlite", funding_rate=0.001), "BTC/USDT:USDT"
    made.markets = [market(swap, quote="USDT", can_short=True)]
    made.exchange.set_market(made.markets[0])
    made.price(100.0, symbol=swap)
    made.exchange.submit(entry("50", symbol=swap))
    made.exchange.submit(entry("50.3", symbol=swap, kind="limit", limit_price=D(99)))
    assert made.price(100.0, symbol=swap, event_ms=1_700_000_000_000 + 8 * 3_600_000) == ["FundingPaid"]
    assert made.books.available_cash() == D("0.3406") - 5
    assert reason(made.exchange.submit(entry("1", symbol=swap))).startswith("no_cash")
    assert made.price(98.0, symbol=swap) == ["Filled"]
    assert made.books.position(swap).quantity == D("100.3")
    made.books.close()


def test_an_entry_that_only_makes_a_short_smaller_is_given_no_stop(desk: Desk) -> None:
    desk.exchange.submit(entry("3.212", side="sell", stop_loss=D(120)))
    (stop,) = desk.books.open
    desk.exchange.cancel(SYMBOL, stop)
    events = desk.exchange.submit(entry("1.358", stop_loss=D(95), take_profit=D(120)))
    assert names(events) == ["Submitted", "Accepted", "Filled"]
    assert (desk.position(), desk.books.open) == (D("-1.854"), {})
    assert names(desk.exchange.submit(entry("2", stop_loss=D(95))))[-2:] == ["Submitted", "Accepted"]
    assert [order.remaining for order in desk.books.open.values()] == [D("0.146")], "of what is long now"


def test_a_sale_is_short_in_what_orders_ahead_of_it_have_not_left() -> None:
    sale = entry("5", side="sell")
    assert [opening(sale, D(5), D(held), D(3)) for held in (9, 8, 6, 3, 0, -2)] == [0, 0, 2, 5, 5, 5]
    assert opening(entry("5"), D(5), D(-9), D(0)) == 5


def test_what_is_set_aside_for_an_average_price_without_end_has_eight_decimals() -> None:
    sold = [
        Fill("", quantity, price, D(0), "USDT", "taker") for quantity, price in ((D(1), D(100)), (D(2), D(101)))
    ]
    taken = cash_taken(flat(SYMBOL), entry("3", side="sell"), sold, "USDT")
    assert taken == D("302.00000001"), "rounded up, for the money that there is must suffice"
