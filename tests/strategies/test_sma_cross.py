"""The built-in strategy says what a plain recomputation of both averages says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Bar
from levibot.execution.position import flat
from levibot.strategies.sma_cross import SmaCross

POSITION = flat("BTC/USDT")


def bars_of(closes: list[float]) -> list[Bar]:
    return [
        Bar("BTC/USDT", 1, number + 1, number * 60_000, close, close, close, close, 1.0)
        for number, close in enumerate(closes)
    ]


def naive(closes: list[float], fast: int, slow: int) -> list[str | None]:
    """Direction after each bar, both averages taken afresh and exactly."""
    answers: list[str | None] = []
    side, crossed = 0, False
    for end in range(1, len(closes) + 1):
        seen = [Fraction(round(close * 10**12)) for close in closes[:end]]
        if end >= slow:
            difference = sum(seen[-fast:]) / fast - sum(seen[-slow:]) / slow
            now = (difference > 0) - (difference < 0)
            if now and now != side:
                crossed = side != 0
                side = now
        answers.append(("long" if side > 0 else "short") if crossed else None)
    return answers


closes = st.lists(
    st.one_of(st.floats(0.0001, 100_000), st.sampled_from([100.0, 100.1, 100.2])), min_size=1, max_size=80
)


@given(closes=closes, fast=st.integers(1, 5), longer=st.integers(1, 8))
def test_equals_a_plain_recomputation(closes: list[float], fast: int, longer: int) -> None:
    strategy = SmaCross(fast, fast + longer)
    signals = [strategy.on_bar(bar, POSITION) for bar in bars_of(closes)]
    assert [signal and signal.direction for signal in signals] == naive(closes, fast, fast + longer)


@given(closes=closes, split=st.integers(0, 80))
def test_history_and_live_bars_lead_to_the_same_state(closes: list[float], split: int) -> None:
    bars = bars_of(closes)
    warmed, live = SmaCross(2, 5), SmaCross(2, 5)
    warmed.warm_up(bars[:split])
    after = [warmed.on_bar(bar, POSITION) for bar in bars[split:]]
    assert after == [live.on_bar(bar, POSITION) for bar in bars][split:]


def test_a_price_that_stands_still_never_crosses() -> None:
    strategy = SmaCross(3, 7)
    strategy.warm_up(bars_of([100.0, 90.0, 0.1, 0.2, 0.3, 100.0, 101.0, 102.0, 103.0]))
    strategy.warm_up(bars_of([0.1 + 0.2] * 10))
    before = strategy.on_bar(bars_of([0.1 + 0.2])[0], POSITION)
    later = {strategy.on_bar(bar, POSITION) for bar in bars_of([0.1 + 0.2] * 1000)}
    assert later == {before}


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (6, 5), (2, 20_000), (2.5, 5), (True, 5)])
def test_lengths_in_the_wrong_order_are_refused(fast: int, slow: int) -> None:
    with pytest.raises(ValueError, match="fast < slow"):
        SmaCross(fast, slow)


@given(closes=closes, ago=st.integers(0, 12), right=st.floats(0.0001, 100_000), more=closes)
def test_after_a_correction_it_is_as_if_the_right_bar_had_been_seen_from_the_start(
    closes: list[float], ago: int, right: float, more: list[float]
) -> None:
    slow, index = 7, max(0, len(closes) - 1 - ago)
    corrected, expected = SmaCross(3, slow), SmaCross(3, slow)
    for bar in bars_of(closes):
        corrected.on_bar(bar, POSITION)
    truth = [*closes[:index], right, *closes[index + 1 :]]
    corrected.on_correction(bars_of(truth)[index])
    seen = truth if len(closes) - index <= slow else closes  # one that is older is in no average any more
    for bar in bars_of(seen):
        expected.on_bar(bar, POSITION)
    later = bars_of([*closes, *more])[len(closes) :]
    assert [corrected.on_bar(bar, POSITION) for bar in later] == [expected.on_bar(bar, POSITION) for bar in later]
