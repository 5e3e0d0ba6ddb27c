"""Volatility is that of closed bars, annualised; what was not traded does not count."""

from __future__ import annotations

import math

import pytest

from levibot.engine.volatility import Volatility
from tests.engine.scene import make_bar


def alternating(volatility: Volatility, bars: int, step: float = 0.001, start: int = 1) -> None:
    for number in range(start, start + bars):
        volatility.add(make_bar(number, 100 * math.exp(step * (number % 2))))


def test_returns_of_one_size_give_that_size_times_the_root_of_a_years_minutes() -> None:
    volatility = Volatility()
    alternating(volatility, 31)
    assert volatility.annualised == pytest.approx(0.001 * math.sqrt(525_600))


def test_it_is_unknown_until_thirty_returns_have_been_seen() -> None:
    volatility = Volatility()
    alternating(volatility, 30)
    assert volatility.annualised is None


def test_a_return_weighs_half_as_much_sixty_bars_later() -> None:
    volatility = Volatility()
    alternating(volatility, 2000, 0.002)
    alternating(volatility, 60, 0.0, start=2001)
    assert volatility.annualised == pytest.approx(0.002 * math.sqrt(525_600 / 2), rel=0.01)


def test_synthetic_bars_and_holes_leave_it_as_it_was() -> None:
    volatility = Volatility()
    alternating(volatility, 41)
    before = volatility.annualised
    for number in range(42, 142):
        volatility.add(make_bar(number, 100.0, synthetic=True))
    volatility.add(make_bar(142, 500.0))
    volatility.add(make_bar(200, 50.0))
    assert volatility.annualised == before
