"""Single trades become what a stream tells of them."""

from __future__ import annotations

from levibot.exchange.summing import sum_up
from levibot.exchange.validation import PublicTrade


def trade(number: int, event_ms: int = 1_700_000_000_000, price: float = 10.0, amount: float = 0.1) -> PublicTrade:
    return PublicTrade(str(number), event_ms, "buy", price, amount)


def test_neighbours_of_one_moment_and_price_are_one_with_the_last_id() -> None:
    assert sum_up([trade(7), trade(6, amount=0.2), trade(5)]) == [trade(7, amount=0.4)]


def test_another_time_price_side_or_a_hole_in_the_ids_keeps_them_apart() -> None:
    others = [trade(9, price=10.1), trade(8, event_ms=1_700_000_000_001), trade(7)._replace(side="sell"), trade(5)]
    assert sum_up([*others, trade(3)]) == [trade(3), *reversed(others)]
    assert sum_up([]) == []
