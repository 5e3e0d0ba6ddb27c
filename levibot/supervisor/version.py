"""Which code runs: workers of two versions must never run side by side."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import levibot
import workers
from levibot.clock import boot_seconds

_KEEP_SECONDS = 1.0


def code_fingerprint() -> str:
    """Digest of the path, size and modification time of every module of levibot and workers.

    It reads no file, so it costs about a millisecond; a caller that asks often should keep the answer
    for a second.
    """
    digest = hashlib.sha256()
    for package in (levibot, workers):
        for folder in map(Path, package.__path__):
            for line in sorted(_modules(folder, package.__name__)):
                digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


class CodeGuard:
    """Tells whether the code on disk is still that which this daemon started with."""

    def __init__(self) -> None:
        self._started_with = code_fingerprint()
        self._checked_at = boot_seconds()
        self._changed = False

    def changed(self) -> bool:
        """Whether any module has changed; looked up at most once a second."""
        now = boot_seconds()
        if now - self._checked_at > _KEEP_SECONDS:
            self._checked_at = now
            with contextlib.suppress(OSError):  # no descriptor is free, for example: that tells nothing
                self._changed = code_fingerprint() != self._started_with
        return self._changed


def _modules(folder: Path, name: str) -> Iterator[str]:
    try:
        for item in os.scandir(folder):
            path = f"{name}/{item.name}"
            if item.is_dir() and item.name != "__pycache__":
                yield from _modules(Path(item.path), path)
            elif item.name.endswith(".py"):
                status = item.stat()
                yield f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
    except FileNotFoundError:
        yield f"{name}\0being replaced\n"  # by an editor or an upgrade: that is a change too
