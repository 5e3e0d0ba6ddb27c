"""Consistent copies of SQLite files, also while others write to them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from levibot.durable import sync_folder

_PAGES_AT_ONCE = 256
_PAUSE = 0.001  # seconds between two steps, in which whoever trades has the disk


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy what the last commit left to a new file: mode 0600, whole or not there, on disk when this returns.

    A database with a write-ahead log lets its readers and its writer alone: all pages are read in one
    transaction, so the copy is of one moment, no commit waits for it, and none makes it begin anew.

    Parameters
    ----------
    source
        Outside a transaction.
    target
        Its folder exists.

    Raises
    ------
    sqlite3.DatabaseError, OSError
        Nothing is left of the copy.
    """
    draft = target.with_name(target.name + ".new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        source.execute("BEGIN")
        try:
            source.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # the moment that is copied
            _copy(source, draft)
        finally:
            source.execute("ROLLBACK")
        sync_file(draft)
        draft.rename(target)
        sync_folder(target.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _copy(source: sqlite3.Connection, draft: Path) -> None:
    copy = sqlite3.connect(draft, isolation_level=None)
    try:
        copy.execute("PRAGMA synchronous = OFF")  # one fsync, before it gets its name
        source.backup(copy, pages=_PAGES_AT_ONCE, sleep=_PAUSE)
    finally:
        copy.close()


def sync_file(path: Path) -> None:
    """Wait until the content of `path` is on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
