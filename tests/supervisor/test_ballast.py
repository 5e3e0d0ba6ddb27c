"""The ballast gives its room up when the disk is full, and takes it again only when there is plenty."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.supervisor.ballast import Ballast
from tests.full_disk import full_disk

MB = 1_000_000
SIZE = 2 * MB
PLENTY = 100 * MB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ballast"


def test_it_takes_up_room_on_the_disk_that_only_we_may_read(path: Path) -> None:
    ballast = Ballast(path)
    ballast.look(SIZE, PLENTY, 0)
    status = path.stat()
    assert (status.st_size, status.st_mode & 0o777, ballast.freed) == (SIZE, 0o600, "")
    assert status.st_blocks * 512 >= SIZE


@pytest.mark.parametrize(("free", "refused"), [(15 * MB, 0), (0, 0), (PLENTY, 1), (None, 3)])
def test_a_full_disk_gets_the_room_back(path: Path, free: int | None, refused: int) -> None:
    ballast = Ballast(path)
    ballast.look(SIZE, PLENTY, 0)
    ballast.look(SIZE, free, refused)
    assert ballast.freed
    assert not path.exists()


def test_it_is_taken_again_when_that_does_not_fill_the_disk_once_more(path: Path) -> None:
    ballast = Ballast(path)
    ballast.look(SIZE, PLENTY, 0)
    ballast.look(SIZE, 0, 0)
    why = ballast.freed
    for free in (SIZE, 20 * MB, 33 * MB):
        ballast.look(SIZE, free, 0)
        assert ballast.freed == why
        assert not path.exists()
    ballast.look(SIZE, 34 * MB, 0)
    assert not ballast.freed
    assert path.stat().st_size == SIZE


def test_a_start_on_a_full_disk_says_so(path: Path) -> None:
    ballast = Ballast(path)
    ballast.look(SIZE, 20 * MB, 0)
    assert "too few" in ballast.freed
    ballast = Ballast(path)
    with full_disk():
        ballast.look(SIZE, PLENTY, 0)  # a quota: the disk has room, we have none
    assert "no room" in ballast.freed
    assert not path.exists()


def test_what_a_life_before_left_is_kept_or_made_fit(path: Path) -> None:
    Ballast(path).look(SIZE, PLENTY, 0)
    kept = path.stat().st_ino, path.stat().st_mtime_ns
    Ballast(path).look(SIZE, 20 * MB, 0)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == kept
    Ballast(path).look(3 * MB, PLENTY, 0)
    assert path.stat().st_size == 3 * MB
    Ballast(path).look(0, PLENTY, 0)
    assert not path.exists()
