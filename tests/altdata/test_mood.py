"""From scores of headlines to the sentiment of an asset."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.altdata.sentiment.mood import Scored, mood

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
scores = st.lists(
    st.builds(Scored, st.floats(-1, 1), st.integers(NOW_MS - 24 * HOUR_MS, NOW_MS)), min_size=3, max_size=20
)


def judged(
    scored: list[Scored], clamp: float = 1.0, least: int = 3, unscored_ms: Sequence[int] = ()
) -> float | None:
    return mood(scored, unscored_ms, NOW_MS, half_life_ms=HOUR_MS, least=least, clamp=clamp)


def test_older_news_count_less() -> None:
    scored = [Scored(1.0, NOW_MS), Scored(-1.0, NOW_MS - HOUR_MS), Scored(-1.0, NOW_MS - 2 * HOUR_MS)]
    assert judged(scored) == pytest.approx((1 - 0.5 - 0.25) / 1.75)


def test_too_few_headlines_give_nothing_rather_than_something_neutral() -> None:
    assert judged([Scored(1.0, NOW_MS)] * 2) is None
    assert judged([], least=0) is None


def test_what_is_mostly_unread_has_no_mood() -> None:
    old = [Scored(1.0, NOW_MS - 2 * HOUR_MS)] * 4  # weigh 1 together
    assert judged(old, unscored_ms=[NOW_MS - HOUR_MS]) == 1.0
    assert judged(old, unscored_ms=[NOW_MS - HOUR_MS] * 3) is None


@given(scores, st.floats(0, 1))
def test_it_stays_within_its_clamp_and_its_scores(scored: list[Scored], clamp: float) -> None:
    found = judged(scored, clamp)
    assert found is not None
    assert abs(found) <= clamp
    free = judged(scored)
    assert free is not None
    assert min(s.score for s in scored) - 1e-12 <= free <= max(s.score for s in scored) + 1e-12


@given(scores, st.floats(-1, 1))
def test_one_headline_moves_it_by_its_share_at_most(scored: list[Scored], fake: float) -> None:
    before = judged(scored)
    after = judged([*scored, Scored(fake, NOW_MS)])
    assert before is not None
    assert after is not None
    weight = sum(math.exp2(-(NOW_MS - s.published_ms) / HOUR_MS) for s in scored)
    assert abs(after - before) <= 2 / (weight + 1) + 1e-12
