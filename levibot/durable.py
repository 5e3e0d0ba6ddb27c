"""Files that hold state: written whole or not at all, and read with each kind of trouble told apart.

Each such file has one writer. That is what the lock on the data directory and the fences are for.
"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from levibot.errors import CorruptStoreError, DataStoreError, FullDiskError, NewerSchemaError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path`; a reader, or a crash, sees the old content or the new, nothing else.

    Parameters
    ----------
    path
        The file. Its folder is created if need be.
    data
        All of the new content.

    Raises
    ------
    FullDiskError
        If the disk refused; the old content is whole and no temporary file is left.
    DataStoreError
        If the file cannot be written for another reason; the same holds.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write_synced(temporary, data)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def append_durably(path: Path, data: bytes) -> None:
    """Append `data` to `path` and wait until it is on disk.

    Raises
    ------
    FullDiskError
        If the disk refused; the file is as it was before.
    DataStoreError
        If the file cannot be written for another reason.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            try:
                _write_all(fd, data)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        if size == 0:
            sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def read_bytes(path: Path) -> bytes | None:
    """Content of `path`, None if there is no such file; DataStoreError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataStoreError(path, f"cannot be read ({error.strerror}); check its owner and mode") from error


def read_document(path: Path, schema: int) -> dict[str, Any] | None:
    """Content of a JSON file with a schema version, None if there is no such file.

    Parameters
    ----------
    path
        The file.
    schema
        The newest version of ``"schema"`` that the caller understands.

    Raises
    ------
    NewerSchemaError
        If a later LeviBot wrote it.
    CorruptStoreError
        If it is no JSON object with a ``"schema"``.
    DataStoreError
        If it cannot be read.
    """
    data = read_bytes(path)
    if data is None:
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptStoreError(path, f"is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(found := document.get("schema"), int):
        raise CorruptStoreError(path, 'is no JSON object with a whole number as "schema"')
    if found > schema:
        raise NewerSchemaError(
            path, f"has schema {found}, this LeviBot knows {schema} at most; upgrade LeviBot to go on"
        )
    return document


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON object, indented for people; errors as of `write_atomic`."""
    write_atomic(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def set_aside(path: Path) -> Path:
    """Rename a damaged file to ``NAME.corrupt-YYYYMMDDTHHMMSSZ`` and return the new path."""
    target = name_aside(path)
    try:
        path.rename(target)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    return target


def keep_aside(path: Path) -> Path:
    """As `set_aside`, but the damaged file stays in its place too, until its next content replaces it.

    So that a start which ends before anything was written finds the damage again. Where files cannot have two
    names it is set aside.
    """
    target = name_aside(path)
    try:
        os.link(path, target)
    except OSError:
        return set_aside(path)
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    return target


def name_aside(path: Path) -> Path:
    """A free name beside `path` for its damaged content."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    return target


def _write_synced(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_folder(folder: Path) -> None:
    """Wait until what was renamed, made or removed in `folder` is on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)  # a rename is not on disk before its folder is
    finally:
        os.close(fd)


def write_error(path: Path, error: OSError) -> DataStoreError:
    """What a failed write is raised as, with the remedy."""
    if error.errno in _FULL:
        return FullDiskError(path, f"the disk refused a write ({error.strerror}); make room")
    return DataStoreError(path, f"cannot be written ({error.strerror}); check owner and mode of its folder")
