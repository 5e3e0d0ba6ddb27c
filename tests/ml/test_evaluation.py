"""Figures of a test span and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from levibot.ml.evaluation import (
    Bootstrap,
    calibration_table,
    days_of,
    gain,
    one_at_a_time,
    quality,
    trading,
)
from levibot.ml.rows import Rows
from levibot.ml.scores import auc

DAY_MS = 86_400_000
MINUTE_MS = 60_000


def rows_of(days: int, per_day: int, seed: int = 1, share: float = 0.0) -> tuple[Rows, np.ndarray]:
    """Rows and honest probabilities of them; `share` of the labels is that of the day, not of the row."""
    draw = np.random.default_rng(seed)
    count = days * per_day
    open_ms = np.repeat(np.arange(days), per_day) * DAY_MS + np.tile(np.arange(per_day), days) * MINUTE_MS
    probabilities = draw.uniform(0.3, 0.7, count)
    labels = (draw.uniform(size=count) < probabilities).astype(float)
    common = np.repeat(draw.integers(0, 2, days), per_day).astype(float)
    labels = np.where(draw.uniform(size=count) < share, common, labels)
    long = np.where(labels == 1, 0.01, -0.01)
    return made(open_ms, labels, long), probabilities


def made(open_ms: np.ndarray, labels: np.ndarray, long: np.ndarray, **changes: np.ndarray) -> Rows:
    """Rows of one symbol, whose bets end after ten bars."""
    places = np.arange(len(open_ms))
    symbols, features = np.zeros(len(places), np.int32), np.empty((len(places), 0))
    rows = Rows(symbols, places, open_ms, open_ms + 11 * MINUTE_MS, places + 10, features, labels, long, -long)
    return rows._replace(**changes)


def test_the_figures_are_those_of_all_rows() -> None:
    rows, probabilities = rows_of(20, 50)
    found = quality(rows, probabilities)
    assert (found.rows, found.days) == (1000, 20)
    assert found.auc.value == auc(rows.labels, probabilities)
    assert found.brier.value == pytest.approx(np.mean((probabilities - rows.labels) ** 2))
    assert found.accuracy.value == np.mean((probabilities > 0.5) == (rows.labels == 1))
    for estimate in (found.accuracy, found.auc, found.log_loss, found.brier):
        assert estimate.low < estimate.value < estimate.high


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        rows, probabilities = rows_of(30, 20, seed)
        right = (probabilities > 0.5) == (rows.labels == 1)
        _, low, high = Bootstrap(days_of(rows)).ratio(right, np.ones(len(right)))
        held += low <= 0.6 <= high  # E max(p, 1 − p) of p uniform in .3 to .7
    assert 85 <= held <= 100


def test_days_that_go_one_way_make_it_wider_than_rows_would() -> None:
    rows, probabilities = rows_of(30, 100, share=0.8)
    found = quality(rows, np.maximum(probabilities, 0.51)).accuracy  # says up on all of them
    as_if_independent = 4 * np.sqrt(0.25 / len(probabilities))
    assert found.high - found.low > 1.5 * as_if_independent


def test_the_interval_of_the_auc_is_that_of_the_exact_one() -> None:
    rows, probabilities = rows_of(25, 40)
    found = quality(rows, probabilities).auc
    draw = np.random.default_rng(7)
    exact = []
    for _ in range(400):
        places = np.concatenate([np.flatnonzero(days_of(rows) == day) for day in draw.integers(0, 25, 25)])
        exact.append(auc(rows.labels[places], probabilities[places]))
    assert found.low == pytest.approx(np.percentile(exact, 2.5), abs=0.012)
    assert found.high == pytest.approx(np.percentile(exact, 97.5), abs=0.012)


def test_rows_that_came_to_no_barrier_are_not_judged_but_traded() -> None:
    rows, probabilities = rows_of(10, 10)
    labels = rows.labels.copy()
    labels[::2] = np.nan
    rows = rows._replace(labels=labels, long=np.full(100, 0.002), short=np.full(100, -0.002))
    assert quality(rows, probabilities).rows == 50
    found = trading(rows, np.full(100, 0.9), 0.55, 0.45, costs=0.001)
    assert (found.trades, found.coverage, found.touched) == (100, 1.0, 0.5)
    assert found.expectancy.value == pytest.approx(0.001)
    assert found.accuracy.value == pytest.approx(np.nanmean(labels))


def test_bets_pay_their_costs_on_either_side() -> None:
    rows, probabilities = rows_of(10, 10)
    found = trading(rows, probabilities, 0.55, 0.45, costs=0.003)
    long, short = probabilities >= 0.55, probabilities <= 0.45
    net = np.where(long, rows.long, rows.short)[long | short] - 0.003
    assert found.trades == (long | short).sum()
    assert found.expectancy.value == pytest.approx(net.mean())
    assert found.accuracy.value == pytest.approx(((rows.labels == 1) == long)[long | short].mean())


def test_no_bet_has_no_figures() -> None:
    rows, _ = rows_of(10, 10)
    found = trading(rows, np.full(100, 0.5), 0.55, 0.45, costs=0.003)
    assert found.trades == 0
    assert np.isnan(found.expectancy.value)
    assert np.isnan(found.accuracy.value)


def test_a_gain_is_paired() -> None:
    rows, probabilities = rows_of(40, 50)
    found = gain(rows, probabilities, np.full(len(probabilities), 0.5))
    assert 0 < found.low < found.value
    assert gain(rows, probabilities, probabilities) == (0, 0, 0)


def test_a_symbol_makes_the_next_bet_when_the_last_has_ended() -> None:
    open_ms = np.array([0, 0, 1, 2, 2, 3]) * MINUTE_MS
    ends = np.arange(6) + np.array([2, 1, 8, 7, 3, 2])
    rows = made(open_ms, np.zeros(6), np.zeros(6), symbols=np.array([0, 1, 0, 0, 1, 1]), ends=ends)
    assert one_at_a_time(rows, np.ones(6, np.bool_)).tolist() == [True, True, False, True, True, False]
    wanted = np.array([False, True, True, True, True, True])
    assert one_at_a_time(rows, wanted).tolist() == [False, True, True, False, True, False]


def test_the_same_draws_each_time() -> None:
    rows, probabilities = rows_of(10, 10)
    assert quality(rows, probabilities) == quality(rows, probabilities)
    assert len(Bootstrap(days_of(rows))) == 10


def test_honest_probabilities_lie_on_the_diagonal() -> None:
    rows, probabilities = rows_of(100, 200)
    table = calibration_table(rows.labels, probabilities)
    assert [count for _, _, count in table] == [2000] * 10
    for said, came, _ in table:
        assert came == pytest.approx(said, abs=0.05)
