"""Files with secrets: read only if nobody else can, and never told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from levibot.private_file import PrivateFileError, look_at, read_private

SECRET = b"t0psecret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert read_private(path, "the key", 100) == SECRET
    assert look_at(path, os.geteuid()) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_one_that_others_can_use_is_not(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"^the key has mode 0{mode:o}.*chmod 600 {path}") as refused:
        read_private(path, "the key", 100)
    assert SECRET.decode() not in str(refused.value)
    assert (flaw := look_at(path, os.geteuid())) is not None
    assert flaw.kind == "mode"


def test_one_of_somebody_else_is_not(path: Path) -> None:
    with pytest.raises(PrivateFileError, match=f"belongs to user {os.geteuid()}.*chown 12345"):
        read_private(path, "the key", 100, owner=12345)
    assert (flaw := look_at(path, 12345)) is not None
    assert flaw.kind in ("owner", "link")


def test_a_link_is_followed_if_nobody_else_can_bend_it(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_private(link, "the key", 100) == SECRET
    assert look_at(link, os.geteuid()) is None
    if os.geteuid() == 0:
        os.lchown(link, 12345, -1)
        with pytest.raises(PrivateFileError, match="is a link of user 12345"):
            read_private(link, "the key", 100)
        assert (flaw := look_at(link, 0)) is not None
        assert flaw.kind == "link"


def test_what_is_no_file_or_too_long_is_not_read(path: Path, tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="larger than 5 bytes"):
        read_private(path, "the key", 5)
    with pytest.raises(PrivateFileError, match="cannot be read"):
        read_private(tmp_path / "none", "the key", 100)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PrivateFileError, match="is no file"):
        read_private(tmp_path / "pipe", "the key", 100)
