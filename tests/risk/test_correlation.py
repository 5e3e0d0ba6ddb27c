"""Which markets move together, measured from bars."""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import exp

import numpy as np
import pytest

from levibot.bus.messages import Bar
from levibot.risk.correlation import WINDOW, Correlations
from tests.risk.market import BTC, ETH

SOL = "SOL/USDT"
FIRST = 29_000_000  # minute


def bar(symbol: str, minute: int, close: float, *, synthetic: bool = False) -> Bar:
    return Bar(symbol, 1, 1, minute * 60_000, close, close, close, close, 1.0, synthetic)


def closes(returns: Iterable[float]) -> list[float]:
    prices = [100.0]
    for change in returns:
        prices.append(prices[-1] * exp(change))
    return prices


def fed(**by_symbol: list[float]) -> Correlations:
    """Each minute one bar of each symbol, and one more minute, which is left out."""
    measured = Correlations()
    for offset in range(max(map(len, by_symbol.values()))):
        for name, prices in by_symbol.items():
            if offset < len(prices):
                measured.add(bar(f"{name}/USDT", FIRST + offset, prices[offset]))
    return measured


def test_it_is_what_numpy_says_of_the_last_two_hours() -> None:
    rng = random.Random(5)
    first = [rng.gauss(0, 0.001) for _ in range(300)]
    second = [0.7 * value + rng.gauss(0, 0.0007) for value in first]
    measured = fed(BTC=closes(first), ETH=closes(second))
    expected = np.corrcoef(first[-WINDOW - 1 : -1], second[-WINDOW - 1 : -1])[0, 1]
    assert measured.between(BTC, ETH) == pytest.approx(expected, abs=1e-9)
    assert measured.between(ETH, BTC) == measured.between(BTC, ETH)
    assert measured.between(BTC, BTC) == 1.0


def test_opposed_markets_are_told() -> None:
    rng = random.Random(6)
    first = [rng.gauss(0, 0.001) for _ in range(200)]
    assert fed(BTC=closes(first), ETH=closes(-value for value in first)).between(BTC, ETH) == pytest.approx(-1)


def test_it_is_unknown_until_thirty_returns_and_for_a_price_that_stands_still() -> None:
    rng = random.Random(7)
    walk = closes(rng.gauss(0, 0.001) for _ in range(31))
    assert fed(BTC=walk[:31], ETH=walk[:31]).between(BTC, ETH) is None, "the newest is left out"
    assert fed(BTC=walk, ETH=walk).between(BTC, ETH) == pytest.approx(1)
    assert fed(BTC=walk, ETH=[100.0] * 32).between(BTC, ETH) is None
    assert fed(BTC=walk).between(BTC, SOL) is None


def test_only_minutes_that_both_have_count_and_synthetic_bars_do_not() -> None:
    rng = random.Random(8)
    first = [rng.gauss(0, 0.001) for _ in range(120)]
    second = [0.9 * value + rng.gauss(0, 0.0003) for value in first]
    one, other = closes(first), closes(second)
    measured = fed(BTC=one, ETH=other)
    measured.add(bar(ETH, FIRST + 50, other[49], synthetic=True))
    kept = [index for index in range(119) if index not in (49, 50)]  # the returns to and from that minute
    expected = np.corrcoef([first[index] for index in kept], [second[index] for index in kept])[0, 1]
    assert measured.between(BTC, ETH) == pytest.approx(expected, abs=1e-9)


def test_a_correction_and_late_history_count_at_once() -> None:
    rng = random.Random(9)
    walk = closes(rng.gauss(0, 0.001) for _ in range(100))
    measured = fed(BTC=walk)
    assert measured.between(BTC, ETH) is None
    for offset, price in enumerate(walk):
        measured.add(bar(ETH, FIRST + offset, price))
    assert measured.between(BTC, ETH) == pytest.approx(1)
    measured.add(bar(ETH, FIRST + 50, 150.0))
    changed = measured.between(BTC, ETH)
    assert changed is not None
    assert changed < 0.5


def test_memory_is_bounded() -> None:
    measured = fed(BTC=[100.0 + number % 7 for number in range(1000)])
    assert len(measured._closes[BTC]) <= WINDOW + 2
