"""What is known outlives the process, with its age."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.altdata.board import Asked, Board, why_unusable
from levibot.altdata.source import Reading
from levibot.bus.messages import AltData
from levibot.errors import NewerSchemaError

NOW_MS = 1_770_000_000_000
HOUR_MS = 3_600_000


def value(name: str, fetched_ms: int = NOW_MS, *, source: str = "coin-metrics", asset: str = "BTC") -> AltData:
    return AltData(asset, name, 1.5, source, fetched_ms - HOUR_MS, fetched_ms, fetched_ms + 2 * HOUR_MS)


def saved(path: Path, *values: AltData) -> Board:
    board = Board(path)
    asked = board.asked("coin-metrics", "a")
    asked.fetched_ms, asked.assets = NOW_MS, ("BTC",)
    for one in values:
        board.take(one)
    board.write(board.content())
    return board


def test_values_and_times_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "altdata.json"
    saved(path, value("transactions"), value("fees", NOW_MS - HOUR_MS))
    board = Board(path)
    board.load({"coin-metrics": "a"})
    assert board.all() == [value("transactions"), value("fees", NOW_MS - HOUR_MS)]
    assert board.asked("coin-metrics", "a") == Asked("a", NOW_MS, ("BTC",))
    assert not board.damage


def test_a_newer_value_takes_the_place_of_an_older_and_expired_ones_are_not_live(tmp_path: Path) -> None:
    board = Board(tmp_path / "altdata.json")
    for one in (value("fees", NOW_MS), value("fees", NOW_MS + 1), value("transactions", NOW_MS - 2 * HOUR_MS)):
        board.take(one)
    assert board.live(NOW_MS) == [value("fees", NOW_MS + 1)]
    assert len(board.all()) == 2
    board.forget_old(NOW_MS + 8 * 24 * HOUR_MS)
    assert not board.all()


@pytest.mark.parametrize("settings", [{}, {"coin-metrics": "b"}], ids=["no such source", "other settings"])
def test_values_of_what_is_configured_no_more_are_forgotten(tmp_path: Path, settings: dict[str, str]) -> None:
    path = tmp_path / "altdata.json"
    saved(path, value("transactions"))
    board = Board(path)
    board.load(settings)
    assert not board.all()
    assert board.asked("coin-metrics", "b").fetched_ms == 0


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 1, "sources": {}, "values": [["BTC", "x", "high"]]}'],
)
def test_a_damaged_file_is_kept_aside_and_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "altdata.json"
    path.write_bytes(content)
    board = Board(path)
    board.load({"coin-metrics": "a"})
    assert not board.all()
    assert str(path) in board.damage
    assert [kept.read_bytes() for kept in tmp_path.glob("*.corrupt-*")] == [content]


def test_the_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "altdata.json"
    path.write_bytes(b'{"schema": 99}')
    with pytest.raises(NewerSchemaError):
        Board(path).load({})
    assert path.read_bytes() == b'{"schema": 99}'


@pytest.mark.parametrize(
    "reading",
    [
        Reading("btc", "fees", 1.0, NOW_MS),
        Reading("B" * 30, "fees", 1.0, NOW_MS),
        Reading("BTC", "Fees now", 1.0, NOW_MS),
        Reading("BTC", "fees", float("nan"), NOW_MS),
        Reading("BTC", "fees", float("-inf"), NOW_MS),
        Reading("BTC", "fees", 1.0, NOW_MS + 2 * HOUR_MS),
    ],
)
def test_what_makes_no_sense_is_no_reading(reading: Reading) -> None:
    assert why_unusable(reading, NOW_MS)
    assert not why_unusable(Reading("", "fees", -1.0, NOW_MS), NOW_MS)
