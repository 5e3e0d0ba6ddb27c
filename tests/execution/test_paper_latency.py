"""An order on paper is on its way for a while, and meets the market of its arrival."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution.examples import SYMBOL, D, Desk, entry, fills, leave, names, reason


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "far.sqlite", latency=0.05)
    made.price(100.0)
    yield made
    made.books.close()


def test_an_order_meets_the_price_of_its_arrival(far: Desk) -> None:
    assert names(far.exchange.submit(entry("2", stop_loss=D(95)))) == ["Submitted", "Sent"]
    assert far.price(101.0) == []
    assert far.books.available_cash() == 10_000 - D(200) * D("1.002"), "set aside while it is on its way"
    far.ahead_ns = 50_000_000
    events = far.exchange.on_timer()
    assert names(events) == ["Accepted", "Filled", "Submitted", "Accepted"]
    assert fills(events)[0][1] == 101
    assert far.exchange.on_timer() == []


def test_a_market_that_runs_faster_brings_it_sooner(far: Desk) -> None:
    far.exchange.submit(entry("2"))
    newest = far.exchange.newest(SYMBOL)
    assert newest is not None
    assert far.price(101.0, event_ms=newest.event_ms + 50) == ["Accepted", "Filled"]


@pytest.mark.parametrize(
    ("price", "why"), [(94.0, "crossed: stop_loss 95 would fire at once"), (150.0, "no_cash: ")]
)
def test_what_cannot_be_done_any_more_is_rejected_on_arrival(far: Desk, price: float, why: str) -> None:
    far.exchange.submit(entry("90", stop_loss=D(95)))
    far.price(price)
    far.ahead_ns = 50_000_000
    events = far.exchange.on_timer()
    assert names(events) == ["Rejected"]
    assert why in reason(events)
    assert far.books.available_cash() == 10_000


def test_one_that_was_on_its_way_when_the_broker_died_is_filled_once(far: Desk) -> None:
    order = entry("2")
    far.exchange.submit(order)
    far.restart()
    assert far.exchange.submit(order) == []
    assert far.price(101.0) == ["Accepted", "Filled"]
    far.restart()
    assert far.price(102.0) == []
    assert far.position() == 2


def test_an_entry_that_is_two_seconds_late_is_refused_and_an_exit_is_not(far: Desk) -> None:
    far.exchange.submit(entry("2"))
    far.ahead_ns = 50_000_000
    far.exchange.on_timer()
    out, late = leave("2"), entry("1")
    far.exchange.submit(late)
    far.exchange.submit(out)
    far.ahead_ns += 3_000_000_000
    events = far.exchange.on_timer()
    assert names(events) == ["Rejected", "Accepted", "Filled"]
    assert events[0].client_id == late.client_id
    assert reason(events[:1]).startswith("late: ")


def test_what_is_cancelled_on_its_way_never_arrives(far: Desk) -> None:
    order = entry("2")
    far.exchange.submit(order)
    assert names(far.exchange.cancel(SYMBOL, order.client_id)) == ["Cancelled"]
    far.ahead_ns = 50_000_000
    assert far.exchange.on_timer() == []
    assert far.position() == 0
