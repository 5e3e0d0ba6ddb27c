"""Spread and imbalance of a minute are means over what was published in it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS
from levibot.market.liquidity import BEST_LEVELS, Liquidity, imbalance

LEVELS = st.lists(st.tuples(st.floats(1, 9), st.floats(0.001, 9)), max_size=8)


@given(LEVELS, LEVELS.filter(bool))
def test_imbalance_is_a_share_of_the_depth_and_changes_its_sign_with_the_side(bids: list, asks: list) -> None:  # type: ignore[type-arg]
    found = imbalance(bids, asks)
    assert -1 <= found <= 1
    assert imbalance(asks, bids) == -found
    assert imbalance([*bids[:BEST_LEVELS]], [*asks[:BEST_LEVELS]]) == found


def test_each_minute_has_means_of_its_own_and_one_without_anything_has_none() -> None:
    seen = Liquidity()
    seen.quote(0, 99.0, 101.0)
    seen.quote(MINUTE_MS - 1, 99.5, 100.5)
    seen.book(5, [(99.0, 3.0)], [(101.0, 1.0)])
    seen.book(6, [], [])
    seen.quote(MINUTE_MS, 50.0, 150.0)
    assert seen.of(0) == (pytest.approx(0.015), 0.5)
    spread, depth = seen.of(MINUTE_MS)
    assert spread == pytest.approx(1.0)
    assert math.isnan(depth)
    assert all(map(math.isnan, seen.of(2 * MINUTE_MS)))


def test_minutes_long_ago_are_forgotten() -> None:
    seen = Liquidity()
    for minute in range(100):
        seen.quote(minute * MINUTE_MS, 99.0, 101.0)
    assert math.isnan(seen.of(0)[0])
    assert seen.of(99 * MINUTE_MS)[0] == pytest.approx(0.02)
