"""The arithmetic of the ensemble, by hand and by its laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.strategies.probability import WEIGHTS, choose_side, combine, confidence, expected_gain

probabilities = st.floats(0, 1)
parts = st.dictionaries(st.sampled_from(sorted(WEIGHTS)), probabilities)


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ({}, None),
        ({"lightgbm": 0.6}, 0.6),
        ({"lightgbm": 0.6, "tft": 0.4, "sentiment": 0.5}, 0.52),  # .3 + .12 + .1
        ({"lightgbm": 0.6, "tft": 0.2}, 0.45),  # (.3 + .06) / .8
        ({"lightgbm": 0.6, "sentiment": 1.0}, 0.5 / 0.7),  # (.3 + .2) / .7
        ({"tft": 0.4, "sentiment": 0.9}, 0.6),  # (.12 + .18) / .5
    ],
)
def test_mean_of_what_is_there(components: dict[str, float], expected: float | None) -> None:
    combined = combine(components)
    assert combined is None if expected is None else combined == pytest.approx(expected)


@given(parts.filter(bool))
def test_a_mean_lies_between_its_parts_and_mirrors(components: dict[str, float]) -> None:
    combined = combine(components)
    assert combined is not None
    assert min(components.values()) <= combined <= max(components.values())
    mirrored = combine({name: 1 - value for name, value in components.items()})
    assert mirrored == pytest.approx(1 - combined, abs=1e-12)


@given(probabilities, st.sampled_from(sorted(WEIGHTS)))
def test_one_component_alone_is_the_whole_whatever_its_weight(probability: float, name: str) -> None:
    assert combine({name: probability}) == probability


@pytest.mark.parametrize(
    ("components", "side"),
    [
        ({"lightgbm": 0.55}, "long"),
        ({"lightgbm": 0.5499}, None),
        ({"lightgbm": 0.45}, "short"),
        ({"lightgbm": 0.4501}, None),
        ({"lightgbm": 0.54, "sentiment": 1.0}, None),  # .671 together, but headlines never open
        ({"lightgbm": 0.58, "sentiment": 0.3}, None),  # .5 together: headlines veto
        ({"lightgbm": 0.58, "sentiment": 0.5}, "long"),  # .557 together
        ({"lightgbm": 0.42, "sentiment": 0.9}, None),
        ({"lightgbm": 0.6, "tft": 0.45}, None),  # .54375
        ({"sentiment": 1.0}, None),
        ({}, None),
    ],
)
def test_side(components: dict[str, float], side: str | None) -> None:
    assert choose_side(components, 0.55, 0.45) == side


@given(parts, probabilities)
def test_headlines_never_open_what_would_be_closed_without_them(
    components: dict[str, float], headline: float
) -> None:
    without = {name: value for name, value in components.items() if name != "sentiment"}
    side = choose_side({**without, "sentiment": headline}, 0.55, 0.45)
    assert side is None or side == choose_side(without, 0.55, 0.45)


@given(parts)
def test_sides_mirror(components: dict[str, float]) -> None:
    other = {"long": "short", "short": "long", None: None}
    mirrored = {name: 1 - value for name, value in components.items()}
    values = [combine(components), combine({n: v for n, v in components.items() if n != "sentiment"})]
    if any(value is not None and min(abs(value - 0.75), abs(value - 0.25)) < 1e-9 for value in values):
        return  # so near a threshold rounding decides
    assert choose_side(mirrored, 0.75, 0.25) == other[choose_side(components, 0.75, 0.25)]


def test_expected_gain_by_hand() -> None:
    assert expected_gain(0.6, 0.012, 0.008, 0.0024) == pytest.approx(0.0016)  # .0072 - .0032 - .0024
    assert expected_gain(0.5, 0.01, 0.01, 0.0) == 0.0
    assert expected_gain(0.55, 0.01, 0.01, 0.0024) == pytest.approx(-0.0014)


@given(probabilities, st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0, 0.1))
def test_the_two_sides_of_a_bet_cost_twice_the_costs_together(
    p: float, win: float, loss: float, costs: float
) -> None:
    long, short = expected_gain(p, win, loss, costs), expected_gain(1 - p, loss, win, costs)
    assert long + short == pytest.approx(-2 * costs, abs=1e-12)


@given(probabilities)
def test_confidence_grows_with_the_distance_from_a_coin_toss(probability: float) -> None:
    value = confidence(probability)
    assert 0 <= value <= 1
    assert value == pytest.approx(confidence(1 - probability), abs=1e-12)
    assert math.isclose(value, abs(2 * probability - 1), abs_tol=1e-12)
