"""Models on disk: versions that never change, and one link to the version that serves.

``FOLDER/NAME/VERSION/{manifest.json,model.txt,…}``, and ``FOLDER/NAME/current``, a link to a version. A
version is written aside, synced and renamed, so whoever looks sees all of it or nothing, whenever the
power fails.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from levibot.clock import wall_ms
from levibot.durable import sync_folder, write_atomic, write_document, write_error
from levibot.errors import ModelError
from levibot.locations import make_private
from levibot.ml.manifest import MANIFEST, Manifest, ModelFile, to_document

CURRENT = "current"
_SAVING = ".saving-"
_ABANDONED_MS = 3_600_000  # a save takes milliseconds: what is older was left by a crash
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_VERSION = re.compile(r"(\d{8}T\d{6}Z)-(\d{3})")
_MOST = 999


class ModelStore:
    """Models by name and version.

    Parameters
    ----------
    folder
        Where they lie; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
        """Store a new version; it does not serve before it is promoted.

        Parameters
        ----------
        manifest
            Its version, and digest and size of each file, are replaced by those of what is stored.
        contents
            Of each file of the manifest, by its name.

        Returns
        -------
        Manifest
            As stored.

        Raises
        ------
        ModelError
            If the name is none.
        DataStoreError
            If the disk refused; nothing is left behind.
        """
        parent = self._parent(manifest.name)
        files = tuple(_described(file, contents[file.name]) for file in manifest.files)
        with _writing(parent):
            make_private(parent)
            _sweep(parent)
            aside = Path(tempfile.mkdtemp(prefix=_SAVING, dir=parent))
            try:
                for name, content in contents.items():
                    write_atomic(aside / name, content)
                while True:
                    version = self._next_version(manifest.name)
                    stored = msgspec.structs.replace(manifest, version=version, files=files)
                    write_document(aside / MANIFEST, to_document(stored))
                    if _renamed(aside, parent / version):
                        break
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
            for folder in (parent, parent.parent, parent.parent.parent):
                sync_folder(folder)
        return stored

    def promote(self, name: str, version: str) -> None:
        """Make a version the one that serves; who looks at that moment sees the old one or the new.

        Raises
        ------
        ModelError
            If there is no such version.
        DataStoreError
            If the disk refused.
        """
        parent = self._parent(name)
        if version not in self.versions(name):
            known = ", ".join(self.versions(name)[-3:]) or "none"
            raise ModelError(parent, f"has no version {version!r:.60}; the newest are: {known}")
        link = parent / f"{_SAVING}{CURRENT}-{os.getpid()}"
        with _writing(parent):
            link.unlink(missing_ok=True)
            link.symlink_to(version)
            link.replace(parent / CURRENT)
            sync_folder(parent)

    def current(self, name: str) -> Path | None:
        """Folder of the version that serves, by its own name; None if none was ever promoted.

        Raises
        ------
        ModelError
            If the link is damaged, or leads to no version of this model.
        """
        parent = self._parent(name)
        link = parent / CURRENT
        try:
            version = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ModelError(link, f"is no link to a version ({error.strerror}); {_REMEDY}") from error
        if not _VERSION.fullmatch(version) or not (parent / version).is_dir():
            raise ModelError(link, f"leads to {version!r:.100}, which is no version here; {_REMEDY}")
        return parent / version

    def versions(self, name: str) -> list[str]:
        """All versions of a model, oldest first."""
        try:
            entries = list(os.scandir(self._parent(name)))
        except FileNotFoundError:
            return []
        return sorted(entry.name for entry in entries if _VERSION.fullmatch(entry.name) and entry.is_dir())

    def _parent(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ModelError(
                self.folder, f"{name!r:.120} is no name of a model; use lower-case letters, digits, . _ and -"
            )
        return self.folder / name

    def _next_version(self, name: str) -> str:
        """Later than all there are, even where the wall clock was set back."""
        stamp, number = datetime.fromtimestamp(wall_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ"), 1
        existing = self.versions(name)
        if existing and (newest := _VERSION.fullmatch(existing[-1])) is not None and newest[1] >= stamp:
            stamp, number = newest[1], int(newest[2]) + 1
        if number > _MOST:
            raise ModelError(self._parent(name), f"has {_MOST} versions of {stamp}; set the clock, or wait")
        return f"{stamp}-{number:03d}"


def _described(file: ModelFile, content: bytes) -> ModelFile:
    return msgspec.structs.replace(file, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


_REMEDY = "remove it, and train or promote a model with `levibotctl train`"


def _renamed(source: Path, target: Path) -> bool:
    """Whether `target` was free."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _sweep(parent: Path) -> None:
    """Remove what crashes left half-written."""
    oldest_ms = wall_ms() - _ABANDONED_MS
    for left in parent.glob(f"{_SAVING}*"):
        if left.is_dir() and left.stat().st_mtime_ns // 1_000_000 < oldest_ms:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(folder, error) from error
