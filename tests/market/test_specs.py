"""Steps of a market come from the known table, from its data, or from its price; only swaps go short."""

from __future__ import annotations

from decimal import Decimal

import pytest

from levibot.market.specs import decimals_of, market_spec


@pytest.mark.parametrize(
    ("symbol", "price", "decimals", "tick", "step", "can_short"),
    [
        ("BTC/USDT", 60_000.0, None, "0.01", "0.00001", False),
        ("BTC/USDT:USDT", 60_000.0, 1, "0.01", "0.00001", True),
        ("BTC/USD", 13_000.0, 8, "0.00000001", "0.00001", False),  # finer data than the table: the data win
        ("XYZ/EUR", 0.0123, None, "0.000001", "0.0000001", False),
        ("XYZ/EUR", 250.0, 2, "0.01", "0.001", False),
        ("XYZ/EUR", 2_500_000.0, None, "1", "1", False),
    ],
)
def test_steps_of_a_market(
    symbol: str, price: float, decimals: int | None, tick: str, step: str, can_short: bool
) -> None:
    spec = market_spec(symbol, price, decimals)
    assert (spec.price_tick, spec.amount_step, spec.can_short) == (Decimal(tick), Decimal(step), can_short)
    assert spec.maker_fee == spec.taker_fee == Decimal("0.001")


def test_decimals_are_those_of_the_shortest_form() -> None:
    assert decimals_of([1.5, 2.0, 0.00001]) == 5
    assert decimals_of([100.0]) == 0
    assert decimals_of([]) == 0
