"""Is there room, and does the file system do what state on disk needs?"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from levibot.doctor.finding import Finding, Patient, existing

_LEAST_INODES = 0.05  # of all
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "afs", "vboxsf"}
_VOLATILE = {"tmpfs", "ramfs"}


def check_disk(patient: Patient) -> Iterator[Finding]:
    """Space, inodes, kind of file system, and whether locks, syncs and renames work on it."""
    folder = existing(patient.data_dir)
    yield _space(folder, patient.config.alerts.disk_free_mb)
    yield _inodes(folder)
    yield judge_kind(folder, kind_of_file_system(folder, Path("/proc/self/mountinfo").read_text(encoding="utf-8")))
    yield probe(folder)


def kind_of_file_system(folder: Path, mountinfo: str) -> str:
    """Type of the file system that `folder` lies on, from the text of ``/proc/PID/mountinfo``."""
    folder = folder.resolve()
    found, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        mount = Path(before.split()[4].replace("\\040", " "))
        if folder.is_relative_to(mount) and len(mount.parts) >= longest:  # the last of equals hides the others
            found, longest = after.split()[0], len(mount.parts)
    return found


def judge_kind(folder: Path, kind: str) -> Finding:
    """Judge a type of file system."""
    if kind in _NETWORK:
        remedy = "put supervisor.data_dir on a local disk: locks and syncs over a network are slow or untrue"
        return Finding("file system", "warn", f"{folder} is on {kind}, over a network", remedy)
    if kind in _VOLATILE:
        remedy = "put supervisor.data_dir on a disk: orders and fills in memory are gone after a reboot"
        return Finding("file system", "warn", f"{folder} is on {kind}, in memory", remedy)
    return Finding("file system", "ok", kind or "unknown")


def probe(folder: Path) -> Finding:
    """Do on `folder` what LeviBot does: lock, sync, rename; leaves nothing behind."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as name:
            _exercise(Path(name))
    except (OSError, AssertionError) as error:
        remedy = "correct who owns supervisor.data_dir, or put it on a file system of this machine"
        return Finding("locks, syncs, renames", "fail", f"{folder}: {error}", remedy)
    return Finding("locks, syncs, renames", "ok", f"work in {folder}")


def _exercise(folder: Path) -> None:
    first, second = (os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2))
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            raise AssertionError("a lock (flock) that is held is given away again")
        os.fsync(first)
    finally:
        os.close(first)
        os.close(second)
    (folder / "new").write_bytes(b"new")
    (folder / "new").replace(folder / "lock")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _space(folder: Path, least_mb: float) -> Finding:
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < least_mb:
        remedy = "make room, or lower alerts.disk_free_mb; [retention] limits what recordings take"
        return Finding("disk space", "fail", f"{free_mb:,.0f} MB free, {least_mb:,.0f} MB wanted", remedy)
    return Finding("disk space", "ok", f"{free_mb / 1000:,.1f} GB free")


def _inodes(folder: Path) -> Finding:
    status = os.statvfs(folder)
    if status.f_files and status.f_favail < _LEAST_INODES * status.f_files:
        return Finding(
            "inodes", "warn", f"{status.f_favail:,} of {status.f_files:,} free", "remove many small files"
        )
    return Finding("inodes", "ok", f"{status.f_favail:,} free" if status.f_files else "no limit")
