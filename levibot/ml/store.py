"""Models on disk: versions that never change, and one link to the version that serves.

``FOLDER/NAME/VERSION/{manifest.json,model.txt,…}``, ``FOLDER/NAME/current``, a link to a version, and
``FOLDER/NAME/history.jsonl``, which versions it has led to and which were removed. A version is written aside,
synced and renamed, so whoever looks sees all of it or nothing, whenever the power fails. Whoever switches the
link, or removes a version, holds a lock on the folder meanwhile, which ends with its process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from levibot.clock import wall_ms
from levibot.durable import sync_folder, write_atomic, write_document, write_error
from levibot.errors import ModelError
from levibot.locations import make_private
from levibot.ml.manifest import MANIFEST, Manifest, ModelFile, read_manifest, to_document, utc
from levibot.ml.served import (
    HISTORY,
    Change,
    Entry,
    Pruned,
    append_entries,
    read_changes,
    read_entries,
    served_before,
)

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

    def promote(
        self, name: str, version: str, *, who: str = "", why: str = "", champion: str | None = None
    ) -> None:
        """Make a version the one that serves; who looks at that moment sees the old one or the new.

        Parameters
        ----------
        name, version
            Of the model.
        who, why
            For the history.
        champion
            The version that must serve until then, as it was the one to beat; empty: none; None: whichever does.

        Raises
        ------
        ModelError
            If there is no such version, or another than `champion` serves by now.
        DataStoreError
            If the disk refused.
        """
        with self._changing(name) as parent:
            if version not in self.versions(name):
                known = ", ".join(self.versions(name)[-3:]) or "none"
                raise ModelError(parent, f"has no version {version!r:.60}; the newest are: {known}")
            previous = self.linked(name)
            if champion is not None and previous != champion:
                serves = previous or "no version"
                raise ModelError(
                    parent,
                    f"{serves} serves by now, {version} was compared with {champion or 'none'}; promote again",
                )
            self._switch(parent, "promote", version, previous, who, why)

    def rollback(self, name: str, *, who: str = "", why: str = "") -> Change:
        """Let the version serve that served before; once more, and it is the one before that.

        Returns
        -------
        Change
            As it is kept in the history.

        Raises
        ------
        ModelError
            If none served before that is still stored.
        DataStoreError
            If the disk refused.
        """
        with self._changing(name) as parent:
            previous = self.linked(name)
            target = self._before(name, previous)
            if target is None:
                raise ModelError(
                    parent,
                    "no version that served before is stored; let another serve with "
                    f"`levibotctl models promote {name}/VERSION`",
                )
            return self._switch(parent, "rollback", target, previous, who, why)

    def changes(self, name: str) -> tuple[list[Change], int]:
        """Which versions served, oldest first, and how many lines of the history are damaged.

        Raises
        ------
        DataStoreError
            If it cannot be read.
        """
        parent = self._parent(name)
        return read_changes(parent, self.linked(name))

    def previous(self, name: str) -> str | None:
        """The version that `rollback` would let serve; None if there is none."""
        return self._before(name, self.linked(name))

    def history(self) -> Iterator[tuple[str, Entry]]:
        """What was done to which model: by model, and of each oldest first; errors as of `changes`."""
        for path in sorted(self.folder.glob(f"*/{HISTORY}")):
            name = path.parent.name
            if _NAME.fullmatch(name):
                entries, _ = read_entries(path.parent, self.linked(name))
                yield from ((name, entry) for entry in entries)

    def pruned(self, name: str) -> list[Pruned]:
        """Versions that were removed; errors as of `changes`."""
        entries, _ = read_entries(self._parent(name), self.linked(name))
        return [entry for entry in entries if isinstance(entry, Pruned)]

    def prune(self, name: str, keep: int, *, who: str = "", why: str = "") -> list[str]:
        """Remove old versions, but never the one that serves, nor the one that a rollback would go to.

        What each was judged on stays in the history: who has looked at the same bars often knows more of them.

        Parameters
        ----------
        name
            Of the model.
        keep
            Newest versions that stay in any case.
        who, why
            For the history.

        Returns
        -------
        list of str
            What was removed.

        Raises
        ------
        DataStoreError
            If the disk refused.
        """
        with self._changing(name) as parent:
            current = self.linked(name)
            versions = self.versions(name)
            kept = {*versions[max(0, len(versions) - keep) :], current, self._before(name, current)}
            doomed = [version for version in versions if version not in kept]
            if doomed:
                append_entries(parent, *(_farewell(parent / version, who, why) for version in doomed))
            for version in doomed:
                aside = Path(tempfile.mkdtemp(prefix=_SAVING, dir=parent))
                (parent / version).rename(aside / version)  # so that nobody sees half of it
                shutil.rmtree(aside)
            sync_folder(parent)
        return doomed

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

    @property
    def names(self) -> list[str]:
        """Models of which there is a version."""
        try:
            entries = sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())
        except FileNotFoundError:
            return []
        return [name for name in entries if _NAME.fullmatch(name) and self.versions(name)]

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """Alone among all processes; the kernel gives the lock back when this one dies."""
        parent = self._parent(name)
        if not parent.is_dir():
            raise ModelError(parent, f"there is no model {name}; train one with `levibotctl train`")
        with _writing(parent):
            fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield parent
            finally:
                os.close(fd)

    def _switch(
        self, parent: Path, action: Literal["promote", "rollback"], version: str, previous: str, who: str, why: str
    ) -> Change:
        now_ms = wall_ms()
        change = Change(
            at_ms=now_ms, at_utc=utc(now_ms), action=action, version=version, previous=previous, who=who, why=why
        )
        if version == previous:
            return change
        append_entries(parent, change)
        link = parent / f"{_SAVING}{CURRENT}"
        link.unlink(missing_ok=True)  # left by a crash
        link.symlink_to(version)
        link.replace(parent / CURRENT)
        sync_folder(parent)
        return change

    def linked(self, name: str) -> str:
        """What the link leads to, sound or not; empty if there is none."""
        try:
            return os.readlink(self._parent(name) / CURRENT)
        except OSError:  # damaged: the next switch mends it
            return ""

    def _before(self, name: str, current: str) -> str | None:
        changes, _ = read_changes(self._parent(name), current)
        stored = set(self.versions(name)) - {current}
        before = served_before(changes)
        if changes and changes[-1].version != current:  # someone else than the store changed the link
            before.insert(0, changes[-1].version)
        return next((version for version in before if version in stored), None)

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


def is_version(text: str) -> bool:
    """Whether it has the form of a version."""
    return _VERSION.fullmatch(text) is not None


def _described(file: ModelFile, content: bytes) -> ModelFile:
    return msgspec.structs.replace(file, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


_REMEDY = "remove it, and promote a version with `levibotctl models promote`, or train one with `levibotctl train`"


def _farewell(folder: Path, who: str, why: str) -> Pruned:
    """What is kept of a version."""
    now_ms = wall_ms()
    gone = Pruned(at_ms=now_ms, at_utc=utc(now_ms), version=folder.name, who=who, why=why)
    try:
        manifest = read_manifest(folder)
    except ModelError:  # damaged: nobody can tell what it was judged on
        return gone
    span, digests = manifest.test, manifest.digests
    return msgspec.structs.replace(gone, test_from_ms=span.from_ms, test_until_ms=span.until_ms, digests=digests)


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
