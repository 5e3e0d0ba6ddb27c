"""Calibrated probabilities come true as often as they say, and keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS
from levibot.ml.calibration import apply, fit
from levibot.ml.history import Floats
from levibot.ml.manifest import Calibration
from levibot.ml.rows import Rows
from levibot.ml.scores import log_loss


def rows(labels: Floats, bars: int = 1) -> Rows:
    """A row a minute, each with a label of so many bars."""
    count = len(labels)
    places = np.arange(count)
    nothing = np.zeros(count)
    return Rows(
        np.zeros(count, dtype=np.int32),
        places,
        places * MINUTE_MS,
        (places + 1 + bars) * MINUTE_MS,
        places + bars,
        np.zeros((count, 0)),
        labels,
        nothing,
        nothing,
    )


def drawn(count: int, seed: int) -> tuple[Floats, Floats]:
    """Probabilities, and labels that come true as often."""
    draw = np.random.default_rng(seed)
    true = draw.uniform(0.05, 0.95, count)
    return true, (draw.random(count) < true).astype(float)


def logit(probabilities: Floats) -> Floats:
    return np.log(probabilities / (1 - probabilities))


def test_one_that_is_too_sure_is_drawn_in() -> None:
    true, labels = drawn(4000, 1)
    sure = 1 / (1 + np.exp(-(2 * logit(true) + 0.5)))
    found = fit(sure, rows(labels))
    assert found.kind == "platt", "which is what was done to it"
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.intercept == pytest.approx(-0.25, abs=0.1)
    fresh, came = drawn(4000, 2)
    raw = 1 / (1 + np.exp(-(2 * logit(fresh) + 0.5)))
    assert np.abs(apply(found, raw) - fresh).max() < 0.05
    assert log_loss(came, apply(found, raw)) < log_loss(came, raw) - 0.05


def test_what_no_line_mends_is_mended_by_steps_if_there_are_rows_enough() -> None:
    true, labels = drawn(8000, 3)
    bent = np.where(true < 0.5, 0.02 * true, 0.98 + 0.02 * true) ** 3  # still rising, but with a jump
    found = fit(bent, rows(labels))
    assert found.kind == "isotonic"
    steps = apply(found, np.sort(bent))
    assert (np.diff(steps) >= 0).all()
    assert 0 < steps[0] < 0.15 < 0.85 < steps[-1] < 1
    assert fit(bent[:1500], rows(labels[:1500])).kind == "platt"
    assert fit(bent, rows(labels, bars=3)).kind == "isotonic"
    assert fit(bent, rows(labels, bars=60)).kind == "platt", "labels that overlap are few witnesses"


def test_who_knows_nothing_or_the_contrary_says_about_the_base_rate_and_still_ranks() -> None:
    draw = np.random.default_rng(4)
    labels = (draw.random(3000) < 0.3).astype(float)
    for raw in (draw.uniform(0.2, 0.8, 3000), np.clip(0.6 - 0.2 * labels + 0.1 * draw.random(3000), 0.01, 0.99)):
        said = apply(fit(raw, rows(labels)), raw)
        assert said == pytest.approx(0.3, abs=0.05)
        if fit(raw, rows(labels)).kind == "platt":
            assert np.unique(np.argsort(said) == np.argsort(raw)).tolist() == [True]


def test_a_few_days_that_rose_hardly_move_the_level() -> None:
    """The labels of four hours say hardly more than one of them, and the next days may fall."""
    draw = np.random.default_rng(5)
    raw = draw.uniform(0.4, 0.6, 6000)
    labels = np.ones(6000)
    labels[::4] = 0.0  # 75 % rises
    few, many = fit(raw, rows(labels, bars=240)), fit(raw, rows(labels))
    assert np.mean(apply(few, raw)) == pytest.approx(0.56, abs=0.04)
    assert np.mean(apply(many, raw)) == pytest.approx(0.75, abs=0.02)


@given(st.floats(0, 1), st.floats(0.01, 50), st.floats(-30, 30))
def test_no_answer_leaves_the_range_and_certainties_stay_finite(
    raw: float, slope: float, intercept: float
) -> None:
    said = apply(Calibration(kind="platt", slope=slope, intercept=intercept), np.array([raw, 0.0, 1.0]))
    assert np.isfinite(said).all()
    assert ((said >= 0) & (said <= 1)).all()
    assert apply(Calibration(), np.array([raw]))[0] == raw


def test_an_isotonic_one_is_level_outside_its_points() -> None:
    found = apply(
        Calibration(kind="isotonic", points=((0.2, 0.4), (0.6, 0.5))), np.array([0.0, 0.2, 0.4, 0.6, 1.0])
    )
    assert found == pytest.approx([0.4, 0.4, 0.45, 0.5, 0.5])


def test_a_few_rows_of_one_class_calibrate_all_the_same() -> None:
    said = apply(fit(np.array([0.4, 0.5, 0.6]), rows(np.ones(3))), np.array([0.5]))
    assert 0.5 < said[0] < 1
