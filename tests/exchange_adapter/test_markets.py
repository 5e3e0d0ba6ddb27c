"""Markets: exact steps, limits and fees; what vanishes becomes inactive, and an answer cut short is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from levibot.bus.messages import MarketSpec
from levibot.errors import MalformedAnswerError
from levibot.exchange.markets import merge, read_markets, read_spec

PLACES, DIGITS, STEPS = 2, 3, 4


def market(symbol: str = "BTC/USDT", **changes: Any) -> dict[str, Any]:
    base, _, quote = symbol.partition("/")
    return {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "type": "spot",
        "active": True,
        "maker": 0.0,
        "taker": 0.0005,
        "precision": {"amount": 1e-05, "price": 0.01},
        "limits": {"amount": {"min": 0.0001}, "cost": {"min": 1.0}},
        **changes,
    }


def test_steps_are_exact() -> None:
    spec = read_spec(market(), STEPS, {})
    assert (spec.amount_step, spec.price_tick) == (Decimal("0.00001"), Decimal("0.01"))
    assert (spec.min_amount, spec.min_cost) == (Decimal("0.0001"), Decimal("1.0"))
    assert (spec.maker_fee, spec.taker_fee) == (Decimal(0), Decimal("0.0005"))
    assert spec.active
    assert not spec.can_short


def test_decimal_places_are_steps_too() -> None:
    spec = read_spec(market(precision={"amount": 3, "price": 0}), PLACES, {})
    assert (spec.amount_step, spec.price_tick) == (Decimal("0.001"), Decimal(1))


def test_what_a_market_does_not_name_has_a_default() -> None:
    bare = market(maker=None, taker=None, limits={}, active=None)
    spec = read_spec(bare, STEPS, {"trading": {"maker": 0.002, "taker": None}})
    assert (spec.maker_fee, spec.taker_fee) == (Decimal("0.002"), Decimal("0.001"))
    assert (spec.min_amount, spec.min_cost) == (Decimal("0.00001"), 0)
    assert spec.active


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": {}},
        {"precision": None},
        {"precision": {"amount": 0.0, "price": 0.01}},
        {"precision": {"amount": "<html>", "price": 0.01}},
        {"precision": {"amount": float("nan"), "price": 0.01}},
        {"limits": {"amount": {"min": -1.0}}},
        {"taker": 5.0},
        {"base": None},
    ],
)
def test_a_market_that_cannot_be_read_is_told_apart_from_the_others(changes: dict[str, Any]) -> None:
    reading = read_markets([market("ETH/USDT"), market(**changes)], STEPS, {})
    assert list(reading.specs) == ["ETH/USDT"]
    assert "found" in reading.unreadable["BTC/USDT"]
    with pytest.raises(MalformedAnswerError, match="none of 1 could be read: BTC/USDT"):
        read_markets([market(**changes)], STEPS, {})


@pytest.mark.parametrize("found", [None, {}, "<html>", [], [None], ["BTC/USDT"], [dict.fromkeys(market())]])
def test_an_answer_without_markets_is_refused(found: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^markets"):
        read_markets(found, STEPS, {})


def test_prices_with_significant_digits_are_not_supported_and_it_is_said() -> None:
    with pytest.raises(MalformedAnswerError, match="significant digits"):
        read_markets([market(precision={"amount": 8, "price": 5})], DIGITS, {})


def test_a_linear_swap_may_be_sold_short_and_an_inverse_one_is_left_out() -> None:
    linear = market("BTC/USDT:USDT", base="BTC", quote="USDT", type="swap", linear=True)
    inverse = market("BTC/USD:BTC", base="BTC", quote="USD", type="swap", linear=False)
    reading = read_markets([linear, inverse], STEPS, {})
    assert [spec.can_short for spec in reading.specs.values()] == [True]


def specs(*symbols: str) -> dict[str, MarketSpec]:
    return read_markets([market(symbol) for symbol in symbols], STEPS, {}).specs


def test_what_is_delisted_stays_as_inactive() -> None:
    before = specs("BTC/USDT", "ETH/USDT", "SOL/USDT")
    now, changed = merge(before, specs("BTC/USDT", "SOL/USDT", "XRP/USDT"))
    assert {symbol: spec.active for symbol, spec in now.items()} == {
        "BTC/USDT": True,
        "SOL/USDT": True,
        "XRP/USDT": True,
        "ETH/USDT": False,
    }
    assert {spec.symbol for spec in changed} == {"ETH/USDT", "XRP/USDT"}
    again, changed = merge(now, specs("BTC/USDT", "SOL/USDT", "XRP/USDT"))
    assert (again, changed) == (now, [])
    back, changed = merge(now, specs("BTC/USDT", "SOL/USDT", "XRP/USDT", "ETH/USDT"))
    assert back["ETH/USDT"].active
    assert [spec.symbol for spec in changed] == ["ETH/USDT"]


def test_a_halt_is_a_change() -> None:
    before = specs("BTC/USDT", "ETH/USDT")
    halted = {**before, "ETH/USDT": msgspec.structs.replace(before["ETH/USDT"], active=False)}
    assert merge(before, halted) == (halted, [halted["ETH/USDT"]])


def test_most_markets_never_vanish_at_once() -> None:
    before = specs("BTC/USDT", "ETH/USDT", "SOL/USDT")
    with pytest.raises(MalformedAnswerError, match="only 1 of 3"):
        merge(before, specs("BTC/USDT", "NEW/USDT", "NEW2/USDT"))
