"""A search finds better settings, goes on where it ended, and sees nothing that comes later."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.ml.rows import Rows
from levibot.ml.tuning import Search, Tuned, tune
from tests.ml.examples import START_MS

NAMES = ("hint", "noise")


def rows(count: int = 1000, *, seed: int = 1) -> Rows:
    """Labels of one bar that a feature hints at, among noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count).astype(float)
    features = np.column_stack([labels + draw.normal(0, 1.5, count), draw.normal(size=count)])
    places = np.arange(count)
    open_ms = START_MS + places * MINUTE_MS
    nothing = np.zeros(count)
    symbols = np.zeros(count, dtype=np.int32)
    return Rows(symbols, places, open_ms, open_ms + 2 * MINUTE_MS, places, features, labels, nothing, nothing)


def search(folder: Path, trials: int, *, seconds: float | None = None) -> Search:
    return Search(trials, seconds, folder / "tuning" / "trials.sqlite3", seed=1, threads=1)


def run(folder: Path, trials: int) -> tuple[Tuned, list[int]]:
    told: list[int] = []
    return tune(rows(), 5, NAMES, "model-0123", search(folder, trials), told.append), told


def test_it_is_no_worse_than_the_defaults_and_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    found, told = run(tmp_path / "a", 6)
    assert told == list(range(7))
    summary = found.summary
    assert summary["tuning_trials"] == 6
    assert summary["tuning_pruned"] < 6
    assert summary["tuning_log_loss"] <= summary["tuning_default_log_loss"] < np.log(2)
    assert run(tmp_path / "b", 6)[0] == found


def test_what_was_interrupted_goes_on_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first, told = run(tmp_path, 3)
    assert told == [0, 1, 2, 3]
    more, told = run(tmp_path, 5)
    assert told == [3, 4, 5]
    assert more.summary["tuning_trials"] == 5
    assert more.summary["tuning_log_loss"] <= first.summary["tuning_log_loss"]
    assert run(tmp_path, 5) == (more, [5])
    other = tune(rows(seed=2), 5, NAMES, "model-4567", search(tmp_path, 1), lambda _done: None)
    assert other.summary["tuning_trials"] == 1, "other data are another search"


def test_the_time_limit_ends_it_with_what_is_there(tmp_path: Path) -> None:
    found = tune(rows(), 5, NAMES, "m", search(tmp_path, 10_000, seconds=1e-3), lambda _done: None)
    assert found.summary["tuning_trials"] == 1


def test_an_interrupt_is_told_in_one_line_and_what_is_done_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, 1)

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("levibot.ml.tuning._loss", interrupted)
    with pytest.raises(KeyboardInterrupt, match="interrupted after 1 of 3 trials; the same command goes on"):
        run(tmp_path, 3)
    assert capfd.readouterr().err == ""


def test_too_few_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fewer folds"):
        tune(rows(500), 5, NAMES, "m", search(tmp_path, 1), lambda _done: None)


def test_without_optuna_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrainingError, match=r"needs Optuna.*`make install-train`.*without --tune"):
        tune(rows(), 5, NAMES, "m", replace(search(tmp_path, 1)), lambda _done: None)
