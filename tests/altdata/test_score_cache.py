"""Scores and spending survive restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.altdata.sentiment.cache import Kept, ScoreCache
from levibot.errors import DataStoreError

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS


def test_what_was_scored_is_known_after_a_restart_under_its_scorer_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    cache = ScoreCache(path)
    cache.keep("a", {"1": 0.5, "2": -1.0}, NOW_MS)
    cache.close()
    again = ScoreCache(path)
    assert again.find("a", ["1", "2", "3"]) == {"1": Kept(0.5, NOW_MS), "2": Kept(-1.0, NOW_MS)}
    assert again.find("b", ["1"]) == {}
    again.keep("a", {str(number): 0.0 for number in range(1200)}, NOW_MS)
    assert len(again.find("a", map(str, range(1500)))) == 1200
    again.close()


def test_old_scores_are_forgotten(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    cache.keep("a", {"old": 0.5}, NOW_MS)
    cache.keep("a", {"new": 0.5}, NOW_MS + 31 * DAY_MS)
    assert cache.find("a", ["old", "new"]) == {"new": Kept(0.5, NOW_MS + 31 * DAY_MS)}
    cache.close()


def test_spending_is_counted_by_utc_day_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    cache = ScoreCache(path)
    for _ in range(3):
        cache.spend(NOW_MS)
    cache.close()
    cache = ScoreCache(path)
    assert cache.spent(NOW_MS + DAY_MS - 1) == 3
    assert cache.spent(NOW_MS + DAY_MS) == 0
    cache.close()


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"no database" * 1000)
    cache = ScoreCache(path)
    with pytest.raises(DataStoreError, match="made anew"):
        cache.find("a", ["1"])
    assert cache.find("a", ["1"]) == {}
    cache.keep("a", {"1": 0.5}, NOW_MS)
    cache.close()


def test_one_that_cannot_be_opened_is_opened_later(tmp_path: Path) -> None:
    folder = tmp_path / "not yet"
    cache = ScoreCache(folder / "scores.sqlite")
    with pytest.raises(DataStoreError, match="cannot be used"):
        cache.spend(NOW_MS)
    folder.mkdir()
    cache.spend(NOW_MS)
    assert cache.spent(NOW_MS) == 1
    cache.close()
