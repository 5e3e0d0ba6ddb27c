"""Sizes that the market takes, and sizes that could be closed again."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.execution.checks import worst_exit
from levibot.execution.precision import closable_refusal, is_dust, sellable, size_refusal
from levibot.execution.refusals import Refusal
from tests.execution.examples import D, entry, market


@pytest.mark.parametrize(
    ("quantity", "price", "dust"),
    [
        ("0", "100", True),
        ("0.0009", "0", True),  # below the step of amounts
        ("0.001", "0", False),  # no price: its amount alone counts
        ("0.049", "100", True),
        ("-0.049", "100", True),
        ("0.05", "100", False),
        ("-0.05", "100", False),
        ("0.0509", "98.5", True),  # 0.050 can be sold
    ],
)
def test_dust_is_what_no_order_could_close(quantity: str, price: str, dust: bool) -> None:
    assert is_dust(D(quantity), D(price), market()) is dust


def test_what_is_sold_is_in_whole_steps() -> None:
    assert sellable(D("-1.23456"), market()) == D("1.234")


@pytest.mark.parametrize(
    ("quantity", "worst", "rules", "least"),
    [
        ("0.055", "100", {}, None),
        ("0.054", "100", {}, "0.055"),
        ("0.055", "98", {}, "0.057"),
        ("1.1", "98", {"min_amount": D(1)}, "1.103"),  # a fee in the base asset leaves less than 1.1
        ("1.103", "98", {"min_amount": D(1)}, None),
    ],
)
def test_an_entry_must_leave_a_tenth_more_than_the_least_at_its_stop(
    quantity: str, worst: str, rules: dict[str, Decimal], least: str | None
) -> None:
    reason = closable_refusal(D(quantity), D(worst), market(**rules))
    if least is None:
        assert reason is None
    else:
        assert reason is not None
        assert reason.startswith("not_closable: dust at its stop")
        assert f"at least {least} BTC would pass" in reason


@given(
    st.integers(1, 10**9).map(lambda value: D(value) / 10**5),
    st.integers(0, 10**6).map(lambda value: D(value) / 10**4),
    st.integers(0, 10**6).map(lambda value: D(value) / 10**3),
)
def test_the_size_that_is_named_passes(worst: Decimal, min_amount: Decimal, min_cost: Decimal) -> None:
    rules = market(min_amount=min_amount, min_cost=min_cost)
    reason = closable_refusal(D("0.001"), worst, rules)
    if reason is not None:
        least = D(reason.rsplit("at least ", 1)[1].split()[0])
        assert closable_refusal(least, worst, rules) is None
        assert size_refusal(least, worst, rules) is None
        assert not is_dust(least * (1 - rules.taker_fee) + rules.amount_step, worst, rules)


@pytest.mark.parametrize(
    ("order", "worst"),
    [
        (entry("1"), "100"),
        (entry("1", stop_loss=D(95), take_profit=D(110)), "95"),
        (entry("1", stop_loss=D(95), trailing_stop=D(7)), "93"),
        (entry("1", side="sell", stop_loss=D(105), take_profit=D(90)), "90"),
    ],
)
def test_the_worst_exit_is_the_lowest_price_of_the_protection(order: object, worst: str) -> None:
    assert worst_exit(order, D(100)) == D(worst)  # type: ignore[arg-type]


def test_names_are_the_first_word_of_a_reason() -> None:
    assert Refusal.NO_CASH.because("12 USDT needed") == "no_cash: 12 USDT needed"
    assert all(name == name.value == name.lower() and " " not in name for name in Refusal)
