"""Files that hold state are whole, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from levibot.durable import (
    append_durably,
    read_bytes,
    read_document,
    set_aside,
    write_atomic,
    write_document,
)
from levibot.errors import CorruptStoreError, DataStoreError, FullDiskError, NewerSchemaError
from tests.full_disk import full_disk


def test_a_written_file_is_private_and_alone_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["state"]


@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_keeps_the_old_content_and_leaves_nothing_half_written(tmp_path: Path, room: int) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"old")
    with full_disk(room), pytest.raises(FullDiskError, match=r"state: the disk refused .*make room"):
        write_atomic(path, b"n" * 100_000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_cannot_be_written_is_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(DataStoreError, match="cannot be written") as caught:
        write_atomic(tmp_path / "state", b"new")
    assert type(caught.value) is DataStoreError
    assert os.listdir(tmp_path) == ["state"]


def test_what_a_full_disk_refused_to_append_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_durably(path, b"first\n")
    with full_disk(room=10), pytest.raises(FullDiskError):
        append_durably(path, b"second\n")
    assert path.read_bytes() == b"first\n"
    append_durably(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_a_killed_writer_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "state"
    code = (
        "import sys; from pathlib import Path; from levibot.durable import write_atomic\n"
        "contents = [bytes([letter]) * 200_000 for letter in b'ab']\n"
        "while True:\n    for content in contents: write_atomic(Path(sys.argv[1]), content)"
    )
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
        try:
            path.unlink(missing_ok=True)
            deadline = time.monotonic() + 20
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.002)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert path.read_bytes() in (b"a" * 200_000, b"b" * 200_000)


def test_a_document_comes_back_and_people_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    assert read_document(path, 1) is None
    write_document(path, {"schema": 1, "workers": {"feed": {"desired": "up"}}})
    assert read_document(path, 1) == {"schema": 1, "workers": {"feed": {"desired": "up"}}}
    assert path.read_text().splitlines()[1] == '  "schema": 1,'


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1', b"[1]", b"{}", b'{"schema": "1"}', b"\xff\xfe"])
def test_damage_is_called_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError, match=r"document\.json: is n"):
        read_document(path, 1)


def test_a_newer_schema_is_never_called_damage(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    path.write_text(json.dumps({"schema": 2, "what": ["we", "do", "not", "know"]}))
    with pytest.raises(NewerSchemaError, match=r"schema 2.*upgrade"):
        read_document(path, 1)


def test_an_unreadable_file_is_not_a_missing_one(tmp_path: Path) -> None:
    assert read_bytes(tmp_path / "missing") is None
    with pytest.raises(DataStoreError, match="cannot be read"):
        read_bytes(tmp_path)


def test_damaged_files_are_set_aside_without_overwriting_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state"
    targets = []
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        targets.append(set_aside(path))
    assert [target.read_bytes() for target in targets] == [b"1", b"2", b"3"]
    assert all(target.name.startswith("state.corrupt-2") for target in targets)
    assert not path.exists()


def test_a_file_that_cannot_be_set_aside_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataStoreError, match="cannot be written"):
        set_aside(tmp_path / "missing")
