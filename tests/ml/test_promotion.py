"""The gate's arithmetic: what counts as better, and what counts as calibrated."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from levibot.ml.manifest import Label, is_expired
from levibot.ml.promotion import (
    Limits,
    Paired,
    Reliability,
    errors_needed,
    fitted_until_ms,
    label_objection,
    own_objections,
    pair,
    reliability,
    summary,
)
from levibot.ml.scored import GAIN_ERRORS, Constant, Scores
from tests.ml.examples import START_MS, manifest

LIMITS = Limits(margin=0.001, calibration_error=0.03)
GOOD = Reliability(0.01, 0.0)
BETTER = Constant(probability=0.5, log_loss=0.69, gain=0.02, gain_error=0.002)
SCORES = Scores(
    auc=0.6,
    log_loss=0.67,
    brier=0.24,
    base_log_loss=0.69,
    base_brier=0.25,
    even=BETTER,
    hindsight=BETTER,
    blocks=40,
)
WELL = Paired("a/1", "a/2", "2025", "2026", 1000, 40, 0.68, 0.67, 0.01, 0.002)


def world(rows: int, *, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities, labels drawn from them, and stretches of five rows."""
    draw = np.random.default_rng(seed)
    true = draw.uniform(0.3, 0.7, rows)
    return true, (draw.uniform(size=rows) < true).astype(float), np.arange(rows) // 5


def test_the_truth_is_calibrated_and_a_bias_or_too_much_confidence_is_not() -> None:
    true, labels, blocks = world(20_000)
    told = reliability(labels, true, blocks)
    assert told.error < 0.02
    assert told.excess < 0.001
    assert reliability(labels, true + 0.1, blocks).excess == pytest.approx(0.1 - 0.02, abs=0.02)
    bold = np.where(true > 0.5, 0.9, 0.1)
    assert reliability(labels, bold, blocks).excess > 0.2


def test_of_few_rows_nothing_is_beyond_chance() -> None:
    true, labels, blocks = world(40)
    assert reliability(labels, true, blocks).error > 0.1
    assert reliability(labels, true, blocks).excess < 0.1
    assert reliability(labels, 1 - labels, np.zeros(40, dtype=np.int64)).excess == 0.0, (
        "one stretch is one witness"
    )
    assert reliability(np.ones(1), np.ones(1), np.zeros(1, dtype=np.int64)) == Reliability(0.0, 0.0)


def test_a_pair_is_compared_row_by_row() -> None:
    true, labels, blocks = world(4_000)
    open_ms = START_MS + np.arange(4_000) * 60_000
    paired = pair(("a/1", "a/2"), open_ms, labels, (np.full(4_000, 0.5), true), blocks)
    assert (paired.champion, paired.challenger, paired.rows, paired.blocks) == ("a/1", "a/2", 4_000, 800)
    assert paired.champion_log_loss == pytest.approx(np.log(2))
    assert paired.gain == pytest.approx(paired.champion_log_loss - paired.log_loss)
    assert paired.objection(0.0) == ""
    swapped = pair(("a/2", "a/1"), open_ms, labels, (true, np.full(4_000, 0.5)), blocks)
    assert swapped.gain == -paired.gain
    assert swapped.gain_error == pytest.approx(paired.gain_error)
    same = pair(("a/1", "a/2"), open_ms, labels, (true, true), blocks)
    assert "no better" in same.objection(0.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"gain": 0.0005, "gain_error": 0.0001}, "within training.promotion_margin = 0.001"),
        ({"gain": 0.004}, ""),
        ({"gain": 0.0039}, "no more than chance (0.0040)"),
        ({"gain": 0.0}, "no better"),
        ({"gain": -0.01}, "no better"),
        ({"rows": 199}, "too few to compare it with a/1"),
        ({"blocks": 9}, "too few"),
    ],
)
def test_what_shows_that_a_challenger_is_better(changes: dict[str, float], words: str) -> None:
    objection = msgspec.structs.replace(WELL, **{"gain_error": 0.00199, **changes}).objection(0.001)
    assert words in objection if words else objection == ""


@pytest.mark.parametrize(
    ("changes", "measured", "words"),
    [
        ({}, GOOD, []),
        ({}, None, ["not known"]),
        ({}, Reliability(0.08, 0.04), ["8.0% off on average, 4.0% of it beyond chance"]),
        ({"expires_ms": START_MS}, GOOD, ["it expired at 2025-01-01T00:00:00Z"]),
        ({"expires_ms": START_MS + 1}, GOOD, []),
        ({"scores": msgspec.structs.replace(SCORES, auc=0.5)}, GOOD, ["no better than guessing"]),
        ({"leaks": None}, GOOD, ["not checked for leaks"]),
        ({"leaks": ("it knows", "all")}, GOOD, ["leak: it knows", "leak: all"]),
    ],
)
def test_what_speaks_against_a_challenger_by_itself(
    changes: dict[str, object], measured: Reliability | None, words: list[str]
) -> None:
    challenger = manifest(**{"scores": SCORES, **changes})
    found = own_objections(challenger, measured, LIMITS, START_MS)
    assert len(found) == len(words), found
    for objection, expected in zip(found, words, strict=True):
        assert expected in objection


def test_where_the_time_of_the_market_is_not_known_nothing_expires() -> None:
    assert own_objections(manifest(scores=SCORES, expires_ms=1), GOOD, LIMITS, None) == []
    assert not is_expired(manifest(expires_ms=0), START_MS)


def test_another_label_is_not_comparable() -> None:
    label = Label(take_profit=0.01, stop_loss=0.02, horizon_bars=30)
    assert label_objection(label, msgspec.structs.replace(label)) == ""
    other = label_objection(label, msgspec.structs.replace(label, horizon_bars=60))
    assert "+1.00% before -2.00%, within 30 bars" in other
    assert "within 60 bars" in other


def test_what_was_calibrated_on_is_learned_from() -> None:
    part = manifest().train
    later = msgspec.structs.replace(part, until_ms=part.until_ms + 5)
    assert fitted_until_ms(manifest()) == part.until_ms
    assert fitted_until_ms(manifest(calibration=later)) == later.until_ms
    assert fitted_until_ms(manifest(test=later)) == part.until_ms


def test_the_history_is_told_by_how_much_it_was_better_or_that_it_was_forced() -> None:
    assert "0.0100 ± 0.0020 better than a/1 on 1,000 rows" in summary([], WELL)
    assert "no champion" in summary([], None)
    assert summary(["it expired"], WELL) == "in spite of: it expired"
    assert "one of 3 that were judged" in summary([], WELL, 3)


def test_the_best_of_many_must_be_better_by_more() -> None:
    assert errors_needed(1) == pytest.approx(GAIN_ERRORS)
    assert errors_needed(2) == pytest.approx(2.278, abs=0.001)
    assert errors_needed(20) == pytest.approx(3.051, abs=0.001)
    found = msgspec.structs.replace(WELL, gain=0.005, gain_error=0.002)
    assert found.objection(0.001) == ""
    assert "no more than chance (0.0061)" in found.objection(0.001, errors_needed(20))
    close = msgspec.structs.replace(SCORES, even=msgspec.structs.replace(BETTER, gain=0.005))
    assert own_objections(manifest(scores=close), GOOD, LIMITS, None) == []
    (objection,) = own_objections(manifest(scores=close), GOOD, LIMITS, None, errors_needed(20))
    assert "a constant 0.5, 0.0050, is no more than chance (0.0061)" in objection


def test_chance_passes_the_gate_no_more_often_however_many_were_tried() -> None:
    draw = np.random.default_rng(11)
    best = draw.normal(size=(4_000, 20)).max(axis=1)  # the best of 20 that are no better, in standard errors
    assert (best > errors_needed(1)).mean() > 0.3
    assert (best > errors_needed(20)).mean() < 0.035
