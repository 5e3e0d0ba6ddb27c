"""The rules of the ensemble: when it opens, and each of the ways in which it lets go."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from levibot.bus.messages import AltData, Bar, Component, Position, Prediction
from levibot.errors import ConfigError
from levibot.ml.features import FEATURE_SET, FEATURES, WINDOW, FeatureWindow
from levibot.strategies.base import ModelStrategy, Question, Signal, check_signal
from levibot.strategies.ensemble import Ensemble
from levibot.strategies.loader import load_strategy
from tests.engine.scene import make_prediction

SYMBOL = "BTC/USDT"
NONE, HELD, SOLD = (Position(SYMBOL, Decimal(n), Decimal(100), Decimal(0)) for n in (0, 1, -1))


def make_bar(number: int, *, synthetic: bool = False) -> Bar:
    close = 100 + math.sin(number / 7)
    return Bar(SYMBOL, 1, number, number * 60_000, close, close + 0.1, close - 0.1, close, 5.0, synthetic)


class Asked:
    """A warm ensemble, asked at one bar after the other."""

    def __init__(self, **options: Any) -> None:
        self.ensemble = Ensemble(**options)
        self.ensemble.warm_up([make_bar(number) for number in range(1, WINDOW)])
        self.number = WINDOW - 1

    def bar(self, position: Position = NONE, *, synthetic: bool = False) -> Signal | Question | None:
        self.number += 1
        return self.ensemble.on_bar(make_bar(self.number, synthetic=synthetic), position)

    def together(self, *predictions: Prediction, position: Position = NONE) -> Signal | None:
        """What it makes of several answers to the next bar."""
        assert isinstance(self.bar(position), Question)
        told = tuple(msgspec.structs.replace(one, bar_ms=self.number * 60_000) for one in predictions)
        return check_signal(self.ensemble.on_predictions(told, position))

    def hear(self, sentiment: float, *, minutes_ago: int = 0) -> None:
        """A value that was fetched so long before the next bar opens, and lasts half an hour."""
        fetched_ms = (self.number + 1 - minutes_ago) * 60_000
        expires_ms = fetched_ms + 30 * 60_000
        self.ensemble.on_altdata(
            AltData("BTC", "sentiment", sentiment, "news", fetched_ms, fetched_ms, expires_ms)
        )

    def verdict(self, probability: float | None, position: Position = NONE, **changes: Any) -> Signal | None:
        """What it makes of the answer to the next bar."""
        assert isinstance(self.bar(position), Question)
        predictions: tuple[Prediction, ...] = ()
        if probability is not None:
            predictions = (make_prediction(self.number, probability, **changes),)
        return check_signal(self.ensemble.on_predictions(predictions, position))


def test_it_asks_about_the_very_features_of_training_once_it_has_seen_enough() -> None:
    ensemble, window = Ensemble(), FeatureWindow()
    assert ensemble.warm_up_bars == WINDOW, "after a hole LightGBM is heard before there is a whole sequence"
    for number in range(1, WINDOW):
        window.add(make_bar(number))
        assert ensemble.on_bar(make_bar(number), NONE) is None
    features = window.add(make_bar(WINDOW))
    assert features is not None
    assert ensemble.on_bar(make_bar(WINDOW), NONE) == Question(FEATURE_SET, features)
    assert len(features) == len(FEATURES)


def test_it_is_a_built_in_that_asks_models() -> None:
    assert isinstance(load_strategy("ensemble", {"long_from": 0.6}), ModelStrategy)


@pytest.mark.parametrize(
    "options",
    [
        {"long_from": 0.4},
        {"short_to": 0.6},
        {"long_from": 1.1},
        {"short_to": -0.1},
        {"costs": -0.01},
        {"costs": 1.0},
        {"least_gain": -0.001},
        {"max_out_of_range": -1},
        {"max_out_of_range": 1.5},
        {"weight_lightgbm": 0.0},
        {"weight_lightgbm": -0.5},
        {"weight_tft": -0.1},
        {"weight_sentiment": float("inf")},
        {"weight_sentiment": float("nan")},
        {"weight_tft": True},
        {"quick": 1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="strategy_options"):
        load_strategy("ensemble", options)


def test_a_likely_rise_is_a_long_with_the_barriers_of_the_label() -> None:
    signal = Asked().verdict(0.7)
    assert signal is not None
    assert (signal.direction, signal.probability) == ("long", 0.7)
    assert signal.confidence == pytest.approx(0.4)
    assert (signal.stop_loss, signal.take_profit) == (0.008, 0.012)
    assert "lightgbm 0.700" in signal.reason
    assert "+0.36%" in signal.reason  # .7 · 1.2 % - .3 · .8 % - .24 %


def test_a_likely_fall_is_a_short_with_mirrored_barriers() -> None:
    signal = Asked().verdict(0.1)
    assert signal is not None
    assert (signal.direction, signal.probability) == ("short", 0.9)
    assert (signal.stop_loss, signal.take_profit) == (0.012, 0.008)
    assert signal.confidence == pytest.approx(0.8)


@pytest.mark.parametrize("probability", [0.45001, 0.5, 0.54999])
@pytest.mark.parametrize("position", [NONE, HELD, SOLD])
def test_between_the_thresholds_it_has_no_opinion(probability: float, position: Position) -> None:
    assert Asked().verdict(probability, position) is None


def test_no_bet_that_costs_more_than_it_brings() -> None:
    assert Asked(costs=0.0029, least_gain=0.0).verdict(0.55) is not None  # .0066 - .0036 = .003 before costs
    assert Asked(costs=0.0031, least_gain=0.0).verdict(0.55) is None
    assert Asked(costs=0.0031, least_gain=0.0).verdict(0.56) is not None


def test_bets_that_come_to_no_barrier_pay_costs_all_the_same() -> None:
    sure = Asked(least_gain=0.0)
    assert sure.verdict(0.7) is not None  # .84 % - .24 % - .24 %
    assert sure.verdict(0.7, touched=0.39) is None  # .39 · .6 % - .24 % < 0
    assert sure.verdict(0.7, touched=0.41) is not None
    signal = sure.verdict(0.7, touched=0.5)
    assert signal is not None
    assert "+0.06%" in signal.reason  # .5 · .6 % - .24 %


def test_what_untouched_bets_return_counts_for_the_one_side_and_against_the_other() -> None:
    rises = {"touched": 0.5, "untouched_return": 0.001}
    signal = Asked().verdict(0.8, **rises)
    assert signal is not None
    assert "+0.21%" in signal.reason  # .5 · .8 % + .5 · .1 % - .24 %
    assert Asked().verdict(0.8, **rises | {"untouched_return": 0.0}) is None
    fall = Asked(least_gain=0.0)
    assert fall.verdict(0.1, **rises | {"untouched_return": 0.0}) is not None  # .5 · (.72 % - .12 %) - .24 %
    assert fall.verdict(0.1, **rises | {"untouched_return": 0.002}) is None  # and less .5 · .2 %


def test_no_bet_that_brings_too_little() -> None:
    assert Asked().verdict(0.61) is None  # .0018 after costs
    assert Asked().verdict(0.63) is not None  # .0022


@pytest.mark.parametrize("position", [NONE, HELD, SOLD])
def test_a_long_ends_when_a_short_has_become_worth_it_and_not_before(position: Position) -> None:
    assert Asked().verdict(0.19, position) is None  # .81 · .8 % - .19 · 1.2 % - .24 % = .18 %
    signal = Asked().verdict(0.17, position)
    assert signal is not None
    assert signal.direction == "short"


@pytest.mark.parametrize("position", [NONE, HELD])
def test_a_model_past_its_end_opens_and_closes_nothing(position: Position) -> None:
    asked = Asked()
    closes_ms = (asked.number + 2) * 60_000
    assert asked.verdict(0.9, position, expires_ms=closes_ms) is None
    assert Asked().verdict(0.9, position, expires_ms=closes_ms + 1) is not None
    assert Asked().verdict(0.9, position, expires_ms=0) is not None
    assert Asked().verdict(0.05, position, expires_ms=1) is None


def test_features_that_the_model_has_not_seen_the_like_of_open_nothing() -> None:
    assert Asked().verdict(0.9, out_of_range=3) is not None
    assert Asked().verdict(0.9, out_of_range=4) is None
    assert Asked(max_out_of_range=0).verdict(0.9, out_of_range=1) is None


def test_no_answer_opens_nothing_and_leaves_what_is_open() -> None:
    asked = Asked()
    assert asked.verdict(None) is None
    asked.verdict(0.9)
    assert asked.verdict(None, HELD) is None


def ends_after(asked: Asked, answers: float | None, limit: int = 100) -> int:
    """Bars until it lets go of a long."""
    for count in range(1, limit):
        signal = asked.verdict(answers, HELD)
        if signal is not None:
            assert signal.direction == "flat"
            assert "30 bars" in signal.reason
            return count
    raise AssertionError("it never let go")


@pytest.mark.parametrize("answers", [0.5, None])
def test_a_bet_is_over_with_its_horizon_even_without_a_model(answers: float | None) -> None:
    asked = Asked()
    asked.verdict(0.9)
    assert ends_after(asked, answers) == 30


def test_an_answer_that_would_open_it_anew_extends_it() -> None:
    asked = Asked()
    asked.verdict(0.9)
    for _ in range(50):
        signal = asked.verdict(0.9, HELD)
        assert signal is not None
        assert signal.direction == "long"
    assert ends_after(asked, 0.5) == 30


def test_a_position_found_after_a_restart_gets_one_horizon_once_a_model_has_said_how_long_that_is() -> None:
    silent = Asked()
    assert all(silent.verdict(None, HELD) is None for _ in range(100))
    assert ends_after(Asked(), 0.5) == 31


def test_a_synthetic_bar_asks_nothing_but_its_time_passes() -> None:
    asked = Asked()
    asked.verdict(0.9)
    for _ in range(24):
        asked.verdict(None, HELD)
    for _ in range(5):
        assert asked.bar(HELD, synthetic=True) is None
    last = asked.bar(HELD, synthetic=True)
    assert isinstance(last, Signal)
    assert last.direction == "flat"


def test_a_restart_asks_the_same_question() -> None:
    old, new = Asked(), Ensemble()
    for _ in range(200):
        question = old.bar()
    new.warm_up([make_bar(number) for number in range(old.number - WINDOW - 58, old.number)])
    again = new.on_bar(make_bar(old.number), NONE)
    assert repr(again) == repr(question), "NaN is not equal to itself"
    assert isinstance(again, Question)
    assert again.steps == 60
    short = Ensemble()
    short.warm_up([make_bar(number) for number in range(old.number - WINDOW + 1, old.number)])
    asked = short.on_bar(make_bar(old.number), NONE)
    assert isinstance(asked, Question)
    assert asked.steps == 0, "there is no sequence yet, but LightGBM is asked"
    assert repr(asked.features) == repr(again.features)


def test_without_a_weight_no_sequence_is_computed() -> None:
    asked = Asked(weight_tft=0)
    for _ in range(100):
        question = asked.bar()
    assert isinstance(question, Question)
    assert question.sequence == b""


def test_context_and_alternative_data_enter_the_features() -> None:
    asked, plain = Asked(), Asked()
    for number in range(WINDOW):
        asked.ensemble.on_context(make_bar(number))
    fetched_ms = asked.number * 60_000
    for asset in ("BTC", ""):
        value = 0.25 if asset else -1.0  # that of the whole market is a feature of its own
        asked.ensemble.on_altdata(AltData(asset, "sentiment", value, "news", fetched_ms, fetched_ms, 10**12))
    questions = asked.bar(), plain.bar()
    assert isinstance(questions[0], Question)
    assert isinstance(questions[1], Question)
    told = dict(zip(FEATURES, questions[0].features, strict=True))
    missing = dict(zip(FEATURES, questions[1].features, strict=True))
    assert (told["sentiment"], told["market_sentiment"]) == (0.25, -1.0)
    changed = {name for name in FEATURES if math.isnan(missing[name]) and not math.isnan(told[name])}
    assert {"sentiment", *(name for name in FEATURES if name.startswith("context_return"))} <= changed


def test_it_asks_about_the_right_bar_after_a_correction() -> None:
    asked, window = Asked(), FeatureWindow()
    right = msgspec.structs.replace(make_bar(WINDOW - 1), close=make_bar(WINDOW - 1).high, volume=7.0)
    for number in range(1, WINDOW - 1):
        window.add(make_bar(number))
    window.add(right)
    asked.ensemble.on_correction(right)
    assert asked.bar() == Question(FEATURE_SET, window.add(make_bar(WINDOW)) or ())


def lightgbm(probability: float, **changes: Any) -> Prediction:
    return make_prediction(0, probability, **changes)


def tft(probability: float, **changes: Any) -> Prediction:
    return make_prediction(0, probability, **{"kind": "tft", "model": "t/1", **changes})


def test_components_are_weighed_and_each_is_told() -> None:
    asked = Asked()
    asked.hear(0.4)
    signal = asked.together(lightgbm(0.7), tft(0.6))
    assert signal is not None
    assert signal.probability == pytest.approx((0.35 + 0.18) / 0.8)  # with headlines .67: the less certain counts
    assert "lightgbm 0.700, tft 0.600, sentiment 0.700" in signal.reason
    opinion = asked.ensemble.opinion
    assert opinion.probability == pytest.approx(0.35 + 0.18 + 0.14)
    assert opinion.components == {
        "lightgbm": Component(0.7, "m/1"),
        "tft": Component(0.6, "t/1"),
        "sentiment": Component(pytest.approx(0.7), "news"),
    }


def test_what_is_absent_or_stale_is_left_out_and_told() -> None:
    asked = Asked()
    asked.hear(-1.0, minutes_ago=75)
    signal = asked.together(lightgbm(0.7))
    assert signal is not None
    assert signal.probability == 0.7
    assert asked.ensemble.opinion.components["tft"].trouble == "no answer in time"
    assert asked.ensemble.opinion.components["sentiment"].trouble == "76 min old"


def test_without_the_primary_nothing_is_opened_whatever_the_others_say() -> None:
    asked = Asked()
    asked.hear(1.0)
    for predictions in ((), (tft(0.99),), (lightgbm(0.99, expires_ms=1), tft(0.99))):
        assert asked.together(*predictions) is None
        assert asked.ensemble.opinion.probability is None
    assert asked.ensemble.opinion.components["lightgbm"].trouble == "expired"


def test_headlines_veto_and_shrink_but_open_nothing_and_enlarge_nothing() -> None:
    asked = Asked(costs=0.0, least_gain=0.0)
    bare = asked.together(lightgbm(0.6))
    asked.hear(1.0)
    assert asked.together(lightgbm(0.6)) == msgspec.structs.replace(
        bare or Signal("flat"), reason="lightgbm 0.600, sentiment 1.000: expects +0.40% after costs"
    )
    assert asked.together(lightgbm(0.54)) is None
    asked.hear(0.0)
    shrunk = asked.together(lightgbm(0.6))
    assert shrunk is not None
    assert shrunk.confidence < 0.2
    asked.hear(-1.0)
    assert asked.together(lightgbm(0.6)) is None
    assert asked.together(lightgbm(0.9)) is not None  # .45 / .7: it takes more than headlines to hold that up


def test_headlines_cannot_make_a_bet_worth_its_costs() -> None:
    asked = Asked()
    assert asked.together(lightgbm(0.61)) is None
    asked.hear(1.0)
    assert asked.together(lightgbm(0.61)) is None


def test_a_model_of_another_label_is_not_mixed_in() -> None:
    asked = Asked()
    signal = asked.together(lightgbm(0.7), tft(0.1, take_profit=0.05))
    assert signal is not None
    assert (signal.probability, signal.take_profit) == (0.7, 0.012)
    assert "another label than m/1" in asked.ensemble.opinion.components["tft"].trouble


def test_a_weight_of_nothing_switches_a_component_off() -> None:
    asked = Asked(weight_tft=0, weight_sentiment=0)
    asked.hear(-1.0)
    signal = asked.together(lightgbm(0.7), tft(0.1))
    assert signal is not None
    assert signal.probability == 0.7
    assert set(asked.ensemble.opinion.components) == {"lightgbm"}
    heavy = Asked(weight_tft=1.5)
    assert heavy.together(lightgbm(0.7), tft(0.0)) is not None
    assert heavy.ensemble.opinion.probability == pytest.approx(0.175)  # (.35 + 0) / 2


def test_a_position_found_open_ends_at_the_horizon_counted_from_its_entry() -> None:
    found = Asked()
    entered = found.number - 20  # bar at whose close it was opened, before the restart
    found.ensemble.on_entry((entered + 1) * 60_000 + 700)
    while found.number < entered + 29:
        assert found.verdict(0.5, HELD) is None, found.number - entered
    signal = found.verdict(0.5, HELD)
    assert signal is not None
    assert (signal.direction, signal.reason) == ("flat", "neither barrier reached in 30 bars")


def test_an_older_entry_takes_nothing_from_an_answer_that_would_have_opened_it_anew() -> None:
    held = Asked()
    assert held.verdict(0.7) is not None
    judged = held.number
    held.ensemble.on_entry((judged + 1) * 60_000)
    held.verdict(0.7, HELD)
    held.ensemble.on_entry((judged + 1) * 60_000)
    while held.number < judged + 30:
        assert held.verdict(0.5, HELD) is None
    assert held.verdict(0.5, HELD) == Signal("flat", reason="neither barrier reached in 30 bars")
