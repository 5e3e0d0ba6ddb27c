"""Identity of a state directory and of a supervisor's start."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from levibot.errors import CorruptStoreError, FullDiskError
from levibot.supervisor.identity import instance, new_epoch
from tests.full_disk import full_disk


def test_an_instance_is_made_once(tmp_path: Path) -> None:
    first = instance(tmp_path / "state")
    assert re.fullmatch("[A-Z2-9]{4}", first)
    assert [instance(tmp_path / "state") for _ in range(3)] == [first] * 3


def test_instances_differ_between_directories(tmp_path: Path) -> None:
    made = {instance(tmp_path / str(number)) for number in range(50)}
    assert len(made) >= 45  # of a million, so two alike are rare


@pytest.mark.parametrize("content", [b"", b"ABC\n", b"ABCDE\n", b"AB01\n", b"\xff\xff\xff\xff\n"])
def test_a_damaged_instance_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "instance").write_bytes(content)
    with pytest.raises(CorruptStoreError, match="client order ids"):
        instance(tmp_path)
    assert (tmp_path / "instance").read_bytes() == content


def test_epochs_grow(tmp_path: Path) -> None:
    assert [new_epoch(tmp_path / "state") for _ in range(4)] == [1, 2, 3, 4]


def test_a_damaged_counter_is_set_aside_and_epochs_still_grow(tmp_path: Path) -> None:
    for _ in range(3):
        new_epoch(tmp_path)
    (tmp_path / "epoch").write_bytes(b"3")
    after = new_epoch(tmp_path)
    assert after >= time.time() - 60
    assert new_epoch(tmp_path) == after + 1
    assert [path.read_bytes() for path in tmp_path.glob("epoch.corrupt-*")] == [b"3"]


def test_no_epoch_is_handed_out_that_is_not_on_disk(tmp_path: Path) -> None:
    new_epoch(tmp_path)
    with full_disk(), pytest.raises(FullDiskError):
        new_epoch(tmp_path)
    assert new_epoch(tmp_path) == 2
