"""One file that holds all state of an account: consistent copies, and a manifest that proves each of them.

Databases are copied while others write to them. Ledgers come first, then the broker's database: what a ledger
knows the broker must know as well. No key, token or address of an alert lies in the folder that is copied.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import msgspec

from levibot import __version__
from levibot.durable import sync_folder, write_error
from levibot.errors import CorruptStoreError, StopError
from levibot.execution.database_copy import copy_database, sync_file
from levibot.execution.store import named_errors

LEDGERS, BROKER, INSTANCE = "ledgers", "broker.sqlite", "instance"
_MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_NAME = re.compile(r"(ledgers/)?[A-Za-z0-9_-]+\.sqlite|[A-Za-z0-9_-]+\.jsonl?|instance")
_OF_THIS_MACHINE = {"exchange-cooldown.json", "audit.jsonl"}  # not of the account
_START = "`levibotctl start`, or `restart` while it runs, sets it aside and rebuilds it; then back up"
_REMEDIES = {BROKER: "keep older backups: `levibotctl restore FILE` puts one back"}
_LEVEL = 3  # of compression: the daemon wants the processor too
_BLOCK = 1 << 20


class BackupError(StopError):
    """A backup cannot be made, or is not what it should be."""


class BackedUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup; `schema` is a database's version."""

    name: str
    size: int
    sha256: str
    schema: int | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds.

    Attributes
    ----------
    state
        Mode, exchange and account, as the folder of their state is named.
    instance
        That the client order ids begin with.
    """

    format: int
    levibot: str
    made_at: str  # UTC, ISO 8601
    state: str
    instance: str
    files: tuple[BackedUp, ...]


def pack(state: Path, target: Path) -> Manifest:
    """Write a backup of a state folder, whether a daemon runs or not. It is whole or not there, mode 0600.

    Raises
    ------
    BackupError
        If there is nothing to be backed up, or `target` exists.
    CorruptStoreError, FullDiskError, DataStoreError
        If a database is damaged, or a file cannot be read or written.
    """
    if not (state / BROKER).is_file() or not (state / INSTANCE).is_file():
        raise BackupError(f"{state}: holds no account yet; check mode, [exchange] and supervisor.data_dir")
    if target.exists():
        raise BackupError(f"{target}: exists already; name another file")
    try:
        with tempfile.TemporaryDirectory(prefix=".levibot-backup-", dir=target.parent) as name:
            return _pack(state, Path(name), target)
    except OSError as error:
        raise write_error(target, error) from error


def unpack(archive: Path, folder: Path) -> Manifest:
    """Write the files of a backup to `folder`, which is empty, after each was compared with the manifest.

    Raises
    ------
    BackupError
        If it is no backup, is damaged, or was made by a newer LeviBot.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = iter(tar)
            manifest = _manifest_of(archive, tar, members)
            missing = {file.name: file for file in manifest.files}
            for member in members:
                file = missing.pop(member.name, None)
                content = tar.extractfile(member) if file is not None and member.isreg() else None
                if file is None or content is None or member.size != file.size:
                    raise BackupError(f"{archive}: {member.name!r} is not in its manifest; use another backup")
                _write_checked(content, folder / file.name, file, archive)
            if missing:
                raise BackupError(f"{archive}: {', '.join(missing)} is missing; use another backup")
    except tarfile.ReadError as error:
        raise BackupError(f"{archive}: is no backup, or damaged; use one that `levibotctl backup` made") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BackupError(f"{archive}: is no backup, or damaged ({error}); use another one") from error
    except OSError as error:
        raise BackupError(f"{archive}: cannot be unpacked ({error.strerror or error}); look after it") from error
    return manifest


def _pack(state: Path, folder: Path, target: Path) -> Manifest:
    (folder / LEDGERS).mkdir()
    files = []
    for name in _names(state):
        schema = None
        if name.endswith(".sqlite"):
            try:
                schema = _copy(state / name, folder / name)
            except CorruptStoreError as error:
                raise CorruptStoreError(error.path, f"{error.reason}: {_REMEDIES.get(name, _START)}") from error
        else:
            (folder / name).write_bytes((state / name).read_bytes())
        files.append(_described(folder / name, name, schema))
    manifest = Manifest(
        format=_FORMAT,
        levibot=__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        state=state.name,
        instance=(folder / INSTANCE).read_text(encoding="ascii").strip(),
        files=tuple(files),
    )
    (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    draft = folder / "archive"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz", compresslevel=_LEVEL) as tar:
        for name in (_MANIFEST, *(file.name for file in files)):
            tar.add(folder / name, name, filter=_anonymous)
    sync_file(draft)
    os.link(draft, target)  # unlike a rename it replaces nothing
    sync_folder(target.parent)
    return manifest


def _names(state: Path) -> Iterator[str]:
    found = [*sorted((state / LEDGERS).glob("*.sqlite")), state / BROKER]
    found += [path for path in sorted(state.iterdir()) if path not in found]
    for path in found:
        name = str(path.relative_to(state))
        if path.is_file() and _NAME.fullmatch(name) and name not in _OF_THIS_MACHINE:
            yield name


def _copy(source: Path, target: Path) -> int:
    """Copy a database; the version of its schema."""
    with named_errors(source):
        connection = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, isolation_level=None)
        try:
            copy_database(connection, target)
        finally:
            connection.close()
        copy = sqlite3.connect(target)
        try:
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise CorruptStoreError(source, f"the content is damaged ({found})")
            (schema,) = copy.execute("PRAGMA user_version").fetchone()
        finally:
            copy.close()
    return int(schema)


def _described(path: Path, name: str, schema: int | None) -> BackedUp:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return BackedUp(name, path.stat().st_size, digest, schema)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _manifest_of(archive: Path, tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo]) -> Manifest:
    first = next(members, None)
    content = tar.extractfile(first) if first is not None and first.name == _MANIFEST and first.isreg() else None
    if content is None:
        raise BackupError(f"{archive}: is no backup of LeviBot; use one that `levibotctl backup` made")
    data = content.read()
    try:
        version = msgspec.json.decode(data, type=dict)["format"]
        if version != _FORMAT:
            raise BackupError(f"{archive}: has format {version}, this LeviBot knows {_FORMAT}; upgrade LeviBot")
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, KeyError) as error:
        raise BackupError(f"{archive}: its manifest cannot be read ({error}); use another backup") from error
    if wrong := [file.name for file in manifest.files if not _NAME.fullmatch(file.name)]:
        raise BackupError(f"{archive}: {wrong[0]!r} has no place in a backup; use another one")
    return manifest


def _write_checked(content: IO[bytes], target: Path, file: BackedUp, archive: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        while block := content.read(_BLOCK):
            digest.update(block)
            stream.write(block)
    if digest.hexdigest() != file.sha256:
        raise BackupError(f"{archive}: {file.name} is not what was backed up; use another backup")
