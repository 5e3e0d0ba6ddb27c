"""Files of tokens: made, kept, mended or refused, and never told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from levibot.api.tokens import Tokens, open_tokens
from levibot.errors import DataStoreError, StopError


def test_a_token_is_made_once_for_this_user_alone_and_kept(tmp_path: Path) -> None:
    first = open_tokens(tmp_path, reading=False)
    path = tmp_path / "api-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first.full) >= 43, "32 random bytes"
    assert [entry.name for entry in tmp_path.iterdir()] == ["api-token"], "no temporary file, no token to read"
    assert open_tokens(tmp_path, reading=False).full == first.full
    path.unlink()
    assert open_tokens(tmp_path, reading=False).full != first.full


def test_a_token_for_reading_is_another_one_and_changes_nothing(tmp_path: Path) -> None:
    tokens = open_tokens(tmp_path, reading=True)
    assert tokens.reading is not None
    assert tokens.reading != tokens.full
    assert tokens.allow(tokens.reading, changing=False)
    assert not tokens.allow(tokens.reading, changing=True)
    assert tokens.allow(tokens.full, changing=False)
    assert tokens.allow(tokens.full, changing=True)
    assert not tokens.allow(tokens.full[:-1], changing=False)
    assert not tokens.allow(b"", changing=False)
    assert not tokens.allow("kein Schlüssel".encode(), changing=True)


def test_a_token_of_the_operators_own_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    path.write_text("x" * 40 + "\n")
    path.chmod(0o600)
    assert open_tokens(tmp_path, reading=False).full == b"x" * 40


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_could_read_is_closed_to_them_and_reported(tmp_path: Path, mode: int) -> None:
    token = open_tokens(tmp_path, reading=False).full
    path = tmp_path / "api-token"
    path.chmod(mode)
    again = open_tokens(tmp_path, reading=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again.full == token
    assert again.repaired == (f"{path} could be read by others (mode {mode:04o})",)


@pytest.mark.parametrize("content", ["", "short", "x" * 2000, "with a space " * 4, "zwölf" * 10])
def test_what_is_no_token_is_refused_without_telling_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "api-token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StopError, match="holds no token") as caught:
        open_tokens(tmp_path, reading=False)
    assert str(path) in str(caught.value)
    assert not content or content not in str(caught.value)


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    (tmp_path / "other").write_text("x" * 40)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(StopError, match="cannot be read"):
        open_tokens(tmp_path, reading=False)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StopError, match="is no file of this user"):
        open_tokens(tmp_path, reading=False)


def test_a_folder_that_takes_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises((DataStoreError, StopError), match="data"):
        open_tokens(tmp_path / "data", reading=False)


def test_tokens_are_in_no_representation(tmp_path: Path) -> None:
    tokens = open_tokens(tmp_path, reading=True)
    assert isinstance(tokens, Tokens)
    assert tokens.reading is not None
    assert tokens.full.decode() not in repr(tokens)
    assert tokens.reading.decode() not in repr(tokens)
