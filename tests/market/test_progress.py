"""Progress is kept for each source, and a damaged file is kept too."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.config_market import FeedConfig
from levibot.errors import CorruptStoreError, NewerSchemaError
from levibot.market.progress import ProgressStore
from levibot.market.source import settings_key


def test_each_source_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state" / "feed.json"
    first, second = (
        ProgressStore(path, settings_key(FeedConfig())),
        ProgressStore(path, settings_key(FeedConfig(seed=8))),
    )
    assert first.load() is None
    first.save(5)
    assert second.load() is None
    second.save(9)
    assert ProgressStore(path, settings_key(FeedConfig(speed=3.0))).load() == 5  # speed changes no price
    assert ProgressStore(path, settings_key(FeedConfig(seed=8))).load() == 9
    assert [entry.name for entry in path.parent.iterdir()] == ["feed.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 1, "markets": {"a": "b"}}'])
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: str) -> None:
    path = tmp_path / "feed.json"
    path.write_text(content, encoding="utf-8")
    store = ProgressStore(path, "x")
    with pytest.raises(CorruptStoreError, match="the market begins anew"):
        store.load()
    assert store.load() is None
    assert [entry.read_text(encoding="utf-8") for entry in tmp_path.iterdir()] == [content]


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "feed.json"
    path.write_text('{"schema": 2, "new": true}', encoding="utf-8")
    with pytest.raises(NewerSchemaError):
        ProgressStore(path, "x").load()
    assert path.exists()
