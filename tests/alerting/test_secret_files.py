"""Files with secrets: whose, with what mode, and what is told of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from levibot.alerting.secret_files import SecretFile
from levibot.private_file import PrivateFileError

SECRET = "tgram://t0psecret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "targets"
    path.write_text(f"# mine\n\n  {SECRET} \n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_lines_are_read_without_comments_and_tell_nothing_of_themselves(path: Path) -> None:
    (line,) = SecretFile("targets_file", path).read()
    assert (line.number, line.text) == (3, SECRET)
    assert repr([line]) == "[line 3]"
    assert "t0p" not in line.digest


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_use_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"mode 0{mode:o}.*chmod 600") as refused:
        SecretFile("targets_file", path).read()
    assert "t0psecret" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    os.chown(path, 12345, -1)
    with pytest.raises(PrivateFileError, match=r"belongs to user 12345.*chown"):
        SecretFile("targets_file", path).read()


def test_what_is_no_text_file_is_refused_without_telling_its_content(path: Path) -> None:
    path.write_bytes(b"t0psecret \xff\xfe")
    with pytest.raises(PrivateFileError, match="no UTF-8") as refused:
        SecretFile("targets_file", path).read()
    assert refused.value.__cause__ is None
    path.write_bytes(b"x" * 70_000)
    with pytest.raises(PrivateFileError, match="larger"):
        SecretFile("targets_file", path).read()
    path.unlink()
    with pytest.raises(PrivateFileError, match="cannot be read"):
        SecretFile("targets_file", path).read()
    path.mkdir(mode=0o700)
    with pytest.raises(PrivateFileError, match="is no file"):
        SecretFile("targets_file", path).read()


def test_a_change_is_noticed_once(path: Path) -> None:
    file = SecretFile("targets_file", path)
    assert [file.changed(), file.changed()] == [True, False]
    path.chmod(0o640)
    assert [file.changed(), file.changed()] == [True, False]
    path.unlink()
    assert [file.changed(), file.changed()] == [True, False]
