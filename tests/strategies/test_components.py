"""Who counts in the ensemble, and what is said of who does not."""

from __future__ import annotations

import msgspec
import pytest

from levibot.bus.messages import AltData, Component
from levibot.strategies.components import NO_ANSWER, Sentiment, answer_of, beside, in_words, of_model
from tests.engine.scene import make_prediction

MINUTE = 60_000
BAR = 100  # number of the bar that is judged
OPEN = BAR * MINUTE
CLOSE = OPEN + MINUTE


def said(
    value: float, fetched_ms: int = OPEN, *, asset: str = "BTC", name: str = "sentiment", life: int = 30
) -> AltData:
    return AltData(asset, name, value, "headlines", fetched_ms - 1, fetched_ms, fetched_ms + life * MINUTE)


def heard(*values: AltData) -> Sentiment:
    sentiment = Sentiment()
    for value in values:
        sentiment.add(value)
    return sentiment


def now(*values: AltData) -> Component:
    return heard(*values).at("BTC", BAR * MINUTE)


@pytest.mark.parametrize(("value", "probability"), [(-1.0, 0.0), (0.0, 0.5), (0.1, 0.55), (1.0, 1.0)])
def test_a_sentiment_is_a_probability(value: float, probability: float) -> None:
    assert now(said(value)) == Component(pytest.approx(probability), "headlines")


@pytest.mark.parametrize(
    ("values", "trouble"),
    [
        ([], "none yet"),
        ([said(0.5, asset="ETH")], "none yet"),
        ([said(0.5, name="funding_rate")], "none yet"),
        ([said(0.5, OPEN + 1)], "fetched after this bar opened"),  # it was not known before the bar
        ([said(0.5, CLOSE - 30 * MINUTE)], "30 min old"),
        ([said(0.5, CLOSE - 75 * MINUTE)], "75 min old"),
        ([said(1.5)], "is 1.5, expected -1 to 1"),
    ],
)
def test_a_sentiment_that_does_not_count_says_why(values: list[AltData], trouble: str) -> None:
    component = now(*values)
    assert (component.probability, component.trouble) == (None, trouble)


def test_the_newest_value_that_was_known_before_the_bar_counts() -> None:
    sentiment = heard(said(-1.0, OPEN - MINUTE), said(1.0, OPEN + 5))
    assert sentiment.at("BTC", BAR * MINUTE).probability == 0.0
    assert sentiment.at("BTC", (BAR + 1) * MINUTE).probability == 1.0
    sentiment.add(said(-1.0, OPEN - MINUTE))
    assert sentiment.at("BTC", (BAR + 1) * MINUTE).probability == 1.0, "an old one that is sent again"
    sentiment.add(said(0.0, OPEN + 5))
    assert sentiment.at("BTC", (BAR + 1) * MINUTE).probability == 0.5, "the same, put right"


def test_values_that_were_fetched_while_the_clock_was_far_ahead_silence_no_other() -> None:
    ahead = [said(-1.0, OPEN + 10**9 + number) for number in range(20)]
    sentiment = heard(*ahead, said(0.0, OPEN - MINUTE), said(1.0, OPEN - 1))
    assert sentiment.at("BTC", BAR * MINUTE).probability == 1.0


def test_one_that_lasts_to_the_close_still_counts() -> None:
    assert now(said(0.0, CLOSE - 30 * MINUTE + 1)).probability == 0.5


def test_what_many_say_later_does_not_pile_up() -> None:
    sentiment = heard(*(said(0.0, OPEN + number) for number in range(10_000)))
    assert len(sentiment._known["BTC"]) <= 8


def test_a_model_says_why_it_does_not_count() -> None:
    assert of_model(None, 3) == Component(trouble=NO_ANSWER)
    assert of_model(make_prediction(BAR, 0.6), 3) == Component(0.6, "m/1")
    old = make_prediction(BAR, 0.6, expires_ms=CLOSE)
    assert of_model(old, 3) == Component(source="m/1", trouble="expired")
    strange = make_prediction(BAR, 0.6, out_of_range=4)
    assert of_model(strange, 3) == Component(source="m/1", trouble="4 features outside what it was trained on")
    assert of_model(strange, 4).probability == 0.6


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"take_profit": 0.012 * (1 + 1e-9)}, True),
        ({"take_profit": 0.0121}, False),
        ({"stop_loss": 0.0081}, False),
        ({"horizon_bars": 31}, False),
        ({"event": "fixed_horizon"}, False),
    ],
)
def test_a_model_of_another_label_is_left_out(changes: dict[str, object], counts: bool) -> None:
    primary = make_prediction(BAR, 0.6)
    other = msgspec.structs.replace(primary, kind="tft", model="t/1", **changes)
    found = beside(of_model(other, 3), other, primary)
    assert (found.probability is not None) == counts
    assert ("another label than m/1" in found.trouble) != counts
    assert beside(of_model(other, 3), other, None).probability is not None, "there is nothing to differ from"
    assert beside(Component(trouble=NO_ANSWER), None, primary).trouble == NO_ANSWER


def test_each_kind_is_found_and_told() -> None:
    predictions = (make_prediction(BAR, 0.6), make_prediction(BAR, 0.7, kind="tft", model="t/1"))
    assert answer_of(predictions, "tft") == predictions[1]
    assert answer_of(predictions[:1], "tft") is None
    components = {
        "lightgbm": of_model(predictions[0], 3),
        "tft": of_model(None, 3),
        "sentiment": now(said(0.5, CLOSE - 75 * MINUTE)),
    }
    late = {"tft": "no answer from tft-0 within 2 s"}
    assert in_words(components, late) == (
        "lightgbm 0.600 (m/1); tft: no answer from tft-0 within 2 s; sentiment: 75 min old"
    )
    assert in_words(components | {"sentiment": now()}, {}) == "lightgbm 0.600 (m/1)", "nobody else is asked"
