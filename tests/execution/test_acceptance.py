"""Times from decision to acceptance."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages import OrderAccepted, OrderDenied, OrderSent, OrderSubmitted
from levibot.execution.acceptance import AcceptanceTimes
from tests.execution.examples import SYMBOL, entry

MS = 1_000_000


def submitted(client_id: str) -> OrderSubmitted:
    return OrderSubmitted(1, 1, SYMBOL, client_id, 0, 0, entry("1"))


def accepted(client_id: str) -> OrderAccepted:
    return OrderAccepted(2, 2, SYMBOL, client_id, 0, 0, "x-1")


def counted(times: AcceptanceTimes) -> tuple[int, float]:
    return times.cumulative()[-1], round(times.seconds, 9)


def test_an_order_is_counted_when_it_is_accepted() -> None:
    times = AcceptanceTimes()
    times.sent("a", 10 * MS)
    times.heard(submitted("a"), 11 * MS)
    times.heard(OrderSent(2, 2, SYMBOL, "a", 0, 0, Decimal(1)), 12 * MS)
    assert counted(times) == (0, 0.0)
    times.heard(accepted("a"), 13 * MS)
    assert counted(times) == (1, 0.003)
    assert times.cumulative()[:2] == [0, 1]  # up to 1 ms, up to 5 ms
    times.heard(accepted("a"), 99 * MS)  # told again
    assert counted(times) == (1, 0.003)


def test_an_order_that_was_denied_or_is_not_ours_is_not_counted() -> None:
    times = AcceptanceTimes()
    times.sent("a", 0)
    times.heard(OrderDenied(2, 2, SYMBOL, "a", 0, 0, "no grant"), 5 * MS)
    times.heard(accepted("a"), 6 * MS)
    times.heard(accepted("a stop of the broker"), 6 * MS)
    assert counted(times) == (0, 0.0)


def test_what_has_ended_unheard_is_forgotten_and_what_is_slow_is_not() -> None:
    times = AcceptanceTimes()
    times.sent("gone", 0)
    times.sent("slow", 0)
    times.keep(["slow"])
    times.heard(accepted("gone"), 9 * MS)
    times.heard(accepted("slow"), 7000 * MS)
    assert counted(times) == (1, 7.0)
