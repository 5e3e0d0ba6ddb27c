"""Profit, position and cash tell one story, whatever is filled and in whatever the fee is paid."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Fill, Side
from levibot.execution.position import after_fill, cash_flow, flat, unrealized_pnl

_AMOUNTS = st.decimals("0.001", "100", places=3)
_PRICES = st.decimals("0.01", "1000", places=2)
_FILLS = st.tuples(st.sampled_from(["buy", "sell"]), _AMOUNTS, _PRICES, st.sampled_from(["USDT", "BTC", "none"]))


@given(st.lists(_FILLS, max_size=20), _PRICES)
def test_profit_is_the_change_of_cash_plus_the_value_held(
    fills: list[tuple[Side, Decimal, Decimal, str]], mark: Decimal
) -> None:
    position, cash, held = flat("BTC/USDT"), Decimal(0), Decimal(0)
    for side, quantity, price, asset in fills:
        fee = quantity * price / 1000 if asset == "USDT" else quantity / 1000 if asset == "BTC" else Decimal(0)
        fill = Fill("f", quantity, price, fee, asset, "taker")
        position = after_fill(position, side, fill)
        cash += cash_flow(side, fill, "USDT")
        held += (quantity if side == "buy" else -quantity) - (fee if asset == "BTC" else 0)
    assert position.quantity == held
    profit = position.realized_pnl + unrealized_pnl(position, mark)
    assert abs(profit - (cash + held * mark)) < Decimal("0.000001")


def test_a_round_trip_realises_the_difference_less_both_fees() -> None:
    bought = after_fill(flat("BTC/USDT"), "buy", _fill("2", "100", "0.4"))
    sold = after_fill(bought, "sell", _fill("2", "110", "0.44"))
    assert (bought.quantity, bought.entry_price) == (Decimal(2), Decimal(100))
    assert (sold.quantity, sold.entry_price, sold.realized_pnl) == (0, 0, Decimal("19.16"))


def test_crossing_zero_starts_a_new_position_at_the_price_of_the_fill() -> None:
    bought = after_fill(flat("BTC/USDT"), "buy", _fill("1", "100", "0"))
    short = after_fill(bought, "sell", _fill("3", "90", "0"))
    assert (short.quantity, short.entry_price, short.realized_pnl) == (-2, 90, -10)


def test_a_fee_in_the_base_asset_makes_the_position_smaller() -> None:
    bought = after_fill(flat("BTC/USDT"), "buy", _fill("1", "100", "0.001", "BTC"))
    assert bought.quantity == Decimal("0.999")
    assert bought.entry_price == 100
    assert bought.realized_pnl == Decimal("-0.1")


def _fill(quantity: str, price: str, fee: str, asset: str = "USDT") -> Fill:
    return Fill("f", Decimal(quantity), Decimal(price), Decimal(fee), asset, "taker")
