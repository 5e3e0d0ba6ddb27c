"""The arithmetic of the ensemble, by hand and by its laws."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from levibot.strategies.probability import (
    PRIMARY,
    WEIGHTS,
    Bet,
    Stakes,
    choose,
    combine,
    confidence,
    expected_gain,
)

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


def side_of(
    components: Mapping[str, float], long_from: float = 0.55, short_to: float = 0.45
) -> Literal["long", "short"] | None:
    bet = choose(components, long_from, short_to)
    return None if bet is None else bet.side


@pytest.mark.parametrize(
    ("components", "bet"),
    [
        ({"lightgbm": 0.55}, Bet("long", 0.55)),
        ({"lightgbm": 0.5499}, None),
        ({"lightgbm": 0.45}, Bet("short", 0.45)),
        ({"lightgbm": 0.4501}, None),
        ({"lightgbm": 0.54, "sentiment": 1.0}, None),  # .671 together, but headlines never open
        ({"lightgbm": 0.46, "sentiment": 0.0}, None),
        ({"lightgbm": 0.58, "sentiment": 0.3}, None),  # .5 together: headlines veto
        ({"lightgbm": 0.58, "sentiment": 0.55}, Bet("long", 0.4 / 0.7)),  # (.29 + .11) / .7
        ({"lightgbm": 0.58, "sentiment": 1.0}, Bet("long", 0.58)),  # .7 together: headlines never make it larger
        ({"lightgbm": 0.42, "sentiment": 0.0}, Bet("short", 0.42)),
        ({"lightgbm": 0.42, "sentiment": 0.9}, None),
        ({"lightgbm": 0.6, "tft": 0.45}, None),  # .54375
        ({"lightgbm": 0.6, "tft": 0.5, "sentiment": 0.6}, Bet("long", 0.45 / 0.8)),  # .57 with headlines
        ({"sentiment": 1.0}, None),
        ({"tft": 0.9}, None),
        ({"tft": 0.9, "sentiment": 1.0}, None),
        ({}, None),
    ],
)
def test_side_and_probability_of_a_bet(components: dict[str, float], bet: Bet | None) -> None:
    found = choose(components, 0.55, 0.45)
    assert (found is None) == (bet is None)
    if found is not None and bet is not None:
        assert found.side == bet.side
        assert found.probability == pytest.approx(bet.probability)


@given(parts)
def test_nothing_is_opened_without_the_primary_model(components: dict[str, float]) -> None:
    components.pop(PRIMARY, None)
    assert choose(components, 0.500001, 0.5) is None


@given(parts, probabilities)
def test_headlines_open_nothing_and_never_make_a_bet_larger(components: dict[str, float], headline: float) -> None:
    without = {name: value for name, value in components.items() if name != "sentiment"}
    with_them, bare = choose({**without, "sentiment": headline}, 0.55, 0.45), choose(without, 0.55, 0.45)
    if with_them is None:
        return
    assert bare is not None
    assert with_them.side == bare.side
    assert confidence(with_them.probability) <= confidence(bare.probability)


@given(parts.filter(bool), st.sampled_from(sorted(WEIGHTS)), probabilities)
def test_what_is_missing_is_never_counted_as_a_coin_toss(
    components: dict[str, float], missing: str, told: float
) -> None:
    known = {name: value for name, value in components.items() if name != missing}
    assume(known)
    total = math.fsum(WEIGHTS[name] for name in known)
    by_hand = math.fsum(WEIGHTS[name] * value for name, value in known.items()) / total
    assert combine(known) == pytest.approx(by_hand, abs=1e-12)
    neutral, coin = combine({**known, missing: by_hand}), combine({**known, missing: 0.5})
    assert neutral == pytest.approx(by_hand, abs=1e-12), "only what agrees changes nothing"
    if abs(by_hand - 0.5) > 1e-6:
        assert coin != pytest.approx(by_hand, abs=1e-9), "a coin toss would have changed it"


@given(parts.filter(bool), st.data())
def test_a_component_that_says_more_makes_the_whole_say_more(
    components: dict[str, float], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(components)))
    higher = {**components, name: data.draw(st.floats(components[name], 1))}
    before, after = combine(components), combine(higher)
    assert before is not None
    assert after is not None
    assert after >= before - 1e-12
    order = {"short": 0, None: 1, "long": 2}
    assert order[side_of(higher)] >= order[side_of(components)] or abs(after - before) < 1e-12


@given(parts, st.floats(0.01, 100))
def test_only_the_ratio_of_weights_counts(components: dict[str, float], scale: float) -> None:
    scaled = {name: weight * scale for name, weight in WEIGHTS.items()}
    assert combine(components, scaled) == pytest.approx(combine(components), abs=1e-12)


@given(parts)
def test_sides_mirror(components: dict[str, float]) -> None:
    other = {"long": "short", "short": "long", None: None}
    mirrored = {name: 1 - value for name, value in components.items()}
    values = [combine(components), combine({n: v for n, v in components.items() if n != "sentiment"})]
    if any(value is not None and min(abs(value - 0.75), abs(value - 0.25)) < 1e-9 for value in values):
        return  # so near a threshold rounding decides
    assert side_of(mirrored, 0.75, 0.25) == other[side_of(components, 0.75, 0.25)]


def test_expected_gain_by_hand() -> None:
    always = Stakes(0.012, 0.008, 1.0, 0.05)
    assert expected_gain(0.6, always, 0.0024) == pytest.approx(0.0016)  # .0072 - .0032 - .0024
    assert expected_gain(0.5, Stakes(0.01, 0.01, 1.0, 0.0), 0.0) == 0.0
    half = Stakes(0.012, 0.008, 0.5, 0.001)
    assert expected_gain(0.6, half, 0.0024) == pytest.approx(0.0001)  # .0036 - .0016 + .0005 - .0024
    assert expected_gain(0.4, half.of_fall, 0.0024) == pytest.approx(-0.0049)  # .0016 - .0036 - .0005 - .0024


@given(
    probabilities,
    st.builds(Stakes, st.floats(1e-4, 1), st.floats(1e-4, 1), probabilities, st.floats(-0.5, 0.5)),
    st.floats(0, 0.1),
)
def test_the_two_sides_of_a_bet_cost_twice_the_costs_together(p: float, stakes: Stakes, costs: float) -> None:
    long, short = expected_gain(p, stakes, costs), expected_gain(1 - p, stakes.of_fall, costs)
    assert long + short == pytest.approx(-2 * costs, abs=1e-12)


@given(st.integers(1, 2**32 - 1), probabilities, st.floats(0, 0.01))
def test_the_expected_gain_is_what_many_bets_bring_on_average(seed: int, touched: float, costs: float) -> None:
    """The law of total expectation, against bets that are counted one by one."""
    draw = random.Random(seed)
    bets = [(draw.random() < touched, draw.random() < 0.6, draw.gauss(0.001, 0.002)) for _ in range(200)]
    decided = [won for is_touched, won, _ in bets if is_touched]
    rest = [change for is_touched, _, change in bets if not is_touched]
    brought = sum((0.012 if won else -0.008) for won in decided) + sum(rest) - costs * len(bets)
    stakes = Stakes(0.012, 0.008, len(decided) / len(bets), sum(rest) / max(1, len(rest)))
    chance = sum(decided) / max(1, len(decided))
    assert expected_gain(chance, stakes, costs) == pytest.approx(brought / len(bets), abs=1e-12)


@given(probabilities)
def test_confidence_grows_with_the_distance_from_a_coin_toss(probability: float) -> None:
    value = confidence(probability)
    assert 0 <= value <= 1
    assert value == pytest.approx(confidence(1 - probability), abs=1e-12)
    assert math.isclose(value, abs(2 * probability - 1), abs_tol=1e-12)
