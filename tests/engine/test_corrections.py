"""The exchange's own bar takes the place of the one that was published, everywhere, and orders nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Bar, BarCorrected
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.core import DecisionCore
from levibot.engine.market_view import MarketView
from levibot.engine.volatility import Volatility
from levibot.execution.position import flat
from levibot.strategies.base import Signal
from levibot.strategies.sma_cross import SmaCross
from tests.engine.scene import SECOND, SYMBOL, Scene, Scripted, make_bar, make_tick, market_spec


class Corrected(Scripted):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.corrections: list[Bar] = []

    def on_correction(self, bar: Bar) -> None:
        self.corrections.append(bar)
        self._say()


def correct(scene: Scene, number: int, close: float) -> list[Any]:
    event = BarCorrected(SYMBOL, 1, 99, 0, number * 60_000, close, close, close, close, 2.0)
    return scene.give(inputs.MarketChanged(scene.now_ns, event))


def minutes(bars: list[Bar]) -> list[tuple[int, float]]:
    return [(bar.open_ms // 60_000, bar.close) for bar in bars]


def test_the_strategy_is_told_once_and_the_log_says_which_bar() -> None:
    scene = Scene(strategy := Corrected())
    correct(scene, 10, 99.5)
    assert minutes(strategy.corrections) == [(10, 99.5)]
    assert scene.noted("market_changed")[-1].fields == {
        "what": "BarCorrected",
        "bar_ms": "600000",
        "close": "99.5",
        "volume": "2.0",
    }
    assert scene.core.market.corrections == 1


@pytest.mark.parametrize("number", [3, 10])
def test_a_correction_orders_nothing_whatever_the_strategy_makes_of_it(number: int) -> None:
    scene = Scene(strategy := Corrected())
    scene.enter()
    strategy.answer = Signal("flat")
    before = len(scene.intents)
    correct(scene, number, 50.0)
    assert len(scene.intents) == before
    assert scene.core.signal is not None
    assert scene.core.signal.direction == "long"


def test_a_strategy_that_fails_at_it_is_noted_and_asked_on() -> None:
    scene = Scene(strategy := Corrected())
    strategy.answer = RuntimeError("no")
    correct(scene, 10, 99.5)
    assert scene.noted("strategy_failed")
    scene.bar(Signal("long"))
    assert scene.requests


def test_a_strategy_without_the_method_is_left_alone() -> None:
    scene = Scene()
    correct(scene, 10, 99.5)
    assert not scene.noted("strategy_failed")


def test_the_newest_bar_gives_the_price_until_a_tick_does() -> None:
    view = MarketView(60.0, 2)
    view.load(inputs.HistoryLoaded(SECOND, market_spec(), [make_bar(number) for number in range(1, 5)]))
    view.change(BarCorrected(SYMBOL, 1, 9, 0, 4 * 60_000, 90.0, 90.0, 90.0, 90.0, 1.0))
    assert view.mark == 90
    view.tick(make_tick(1, 95.0, event_ms=5 * 60_000 + 1), SECOND)
    view.change(BarCorrected(SYMBOL, 1, 10, 0, 4 * 60_000, 80.0, 80.0, 80.0, 80.0, 1.0))
    assert view.mark == 95


def test_a_synthetic_bar_that_turns_out_to_be_real_is_traded_on() -> None:
    scene = Scene(Corrected())
    scene.bar(Signal("long"), synthetic=True)
    assert not scene.requests
    correct(scene, scene.bar_number, 100.0)
    scene.tick()
    assert scene.core.market.unfit(scene.now_ns) == ""


def test_a_correction_that_was_lost_is_found_in_the_next_snapshot() -> None:
    scene = Scene(strategy := Corrected())
    for _ in range(3):
        scene.bar()
    scene.give(inputs.HoleFound(scene.now_ns, "bars or events 14 to 14 were lost"))
    history = [make_bar(number) for number in range(1, 15)]
    history[7] = msgspec.structs.replace(history[7], close=99.0, low=99.0)
    strategy.asked.clear()
    scene.load([msgspec.structs.replace(bar, epoch=2, seq=0, received_ns=5) for bar in history])
    assert minutes(strategy.corrections) == [(8, 99.0)]
    assert strategy.asked == [14]
    scene.give(inputs.HoleFound(scene.now_ns, "again"))
    scene.load(history)
    assert len(strategy.corrections) == 1, "the same bar again is no news"


prices = st.sampled_from([100.0, 100.5, 99.0, 101.25, 97.0])


@given(
    closes=st.lists(prices, min_size=1, max_size=90),
    synthetic=st.sets(st.integers(0, 89), max_size=8),
    ago=st.integers(0, 70),
    right=prices,
    rest=st.lists(prices, max_size=5),
)
def test_volatility_is_that_of_the_right_bar_from_the_start(
    closes: list[float], synthetic: set[int], ago: int, right: float, rest: list[float]
) -> None:
    bars = [make_bar(n, close, synthetic=n in synthetic) for n, close in enumerate(closes, 1)]
    corrected, expected = Volatility(), Volatility()
    for bar in bars:
        corrected.add(bar)
    index = max(0, len(bars) - 1 - ago)
    corrected.correct(make_bar(index + 1, right))
    if len(bars) - index <= 60:
        bars[index] = make_bar(index + 1, right)
    for bar in bars:
        expected.add(bar)
    for number, close in enumerate(rest, len(bars) + 1):
        corrected.add(make_bar(number, close))
        expected.add(make_bar(number, close))
    assert corrected.annualised == expected.annualised


@given(closes=st.lists(prices, min_size=12, max_size=40), ago=st.integers(0, 9), right=prices, more=prices)
def test_a_core_with_a_built_in_strategy_goes_on_as_if_it_had_seen_the_right_bar(
    closes: list[float], ago: int, right: float, more: float
) -> None:
    number = len(closes) - ago
    seen = [make_bar(n, close) for n, close in enumerate(closes, 1)]
    true = [bar if bar.open_ms != number * 60_000 else make_bar(number, right) for bar in seen]
    cores = []
    for bars in (seen, true):
        core = DecisionCore(SYMBOL, EngineConfig(), SmaCross(3, 10), lambda role: f"id-{role}")
        core.handle(inputs.HistoryLoaded(SECOND, market_spec(), bars))
        cores.append(core)
    event = BarCorrected(SYMBOL, 1, 99, 0, number * 60_000, right, right, right, right, 1.0)
    cores[0].handle(inputs.MarketChanged(SECOND, event))
    answers = []
    for core in cores:
        core.handle(inputs.PositionReconciled(SECOND, flat(SYMBOL), []))
        answers.append(core.handle(inputs.BarClosed(2 * SECOND, make_bar(len(closes) + 1, more))))
    assert answers[0] == answers[1]
