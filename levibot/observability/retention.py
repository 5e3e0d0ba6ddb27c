"""Removes old files of kinds that only grow, and nothing that it does not know by its name.

Ledgers, the broker's database, models and whatever else lies in the data directory are never touched.
Log files are not swept here: each is expired by its one writer.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import inf
from pathlib import Path

from levibot.config import Config, RetentionConfig
from levibot.market.tape import NAME as FEED_RECORDING
from levibot.market.tape import recordings_folder

_RECORDING = re.compile(r"engine-[A-Za-z0-9_-]+-\d{8}T\d{6}Z-\d+\.msgpack")
_SET_ASIDE = re.compile(r".+\.corrupt-(\d{8}T\d{6})(\.\d{6})?Z(-\d+)?(-wal|-shm|-suspect)?")
_OLD_SCHEMA = re.compile(r".+\.sqlite\.schema-\d+-(\d{8}T\d{6})\.\d{6}Z\.bak")
_STACKS = re.compile(r"[A-Za-z0-9_-]+\.stack")
_JUST_BEGUN = 60.0  # seconds: its worker may be younger than our list of workers
_STACK_BYTES = 1_000_000  # of dumps kept in one file
_DAY = 86_400.0


@dataclass
class Sweep:
    """What one sweep did.

    Attributes
    ----------
    removed
        Files, by kind.
    trimmed
        Stack dumps that were cut down to their newest part.
    freed_bytes
        By both.
    errors
        What could not be looked at or removed, and why.
    """

    removed: dict[str, int] = field(default_factory=dict)
    trimmed: int = 0
    freed_bytes: int = 0
    errors: list[OSError] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    path: Path
    size: int
    modified: float  # Unix seconds
    inode: tuple[int, int]


def sweep(config: Config, workers: Collection[int], now_ms: int) -> Sweep:
    """Look through the data directory once. Blocks; errors of single files are kept, none is raised.

    Parameters
    ----------
    config
        Names the folders and the limits.
    workers
        Pids; what one of them has open is no recording that may go.
    now_ms
        Unix time in milliseconds.
    """
    result, now, limits = Sweep(), now_ms / 1000, config.retention
    state = config.state_dir
    _sweep_recordings(state, limits, workers, now, result)
    for folder in (state, state / "ledgers", config.supervisor.data_dir):
        for found in _files(folder, _SET_ASIDE, result):
            if _stamped_at(_SET_ASIDE, found) < now - limits.journal_days * _DAY:
                _remove("set_aside", found, result)
        for found in _files(folder, _OLD_SCHEMA, result):
            if _stamped_at(_OLD_SCHEMA, found) < now - limits.journal_days * _DAY:
                _remove("old_schema", found, result)
    for found in _files(config.log_dir, _STACKS, result):
        if found.modified < now - limits.journal_days * _DAY:
            # Emptied, not removed: its worker may hold it open for a dump to come.
            _trim(found, 0, result)
        elif found.size > _STACK_BYTES:
            _trim(found, _STACK_BYTES // 2, result)
    return result


def _sweep_recordings(
    state: Path, limits: RetentionConfig, workers: Collection[int], now: float, result: Sweep
) -> None:
    """Those of engines and feed: by age, then the oldest until the rest fits; never one that is being written."""
    folder = state / "recordings"
    of_feed = () if folder.is_symlink() else _files(recordings_folder(state), FEED_RECORDING, result)
    recordings = sorted(chain(_files(folder, _RECORDING, result), of_feed), key=lambda found: found.modified)
    total = sum(found.size for found in recordings)
    in_use = _open_inodes(workers) if recordings else set()
    for found in recordings:
        old = found.modified < now - limits.recordings_days * _DAY
        wanted_gone = old or total > limits.recordings_gb * 1e9
        if wanted_gone and found.modified < now - _JUST_BEGUN and found.inode not in in_use:
            total -= _remove("recording", found, result)


def _files(folder: Path, pattern: re.Pattern[str], result: Sweep) -> Iterator[_Found]:
    """Regular files of `folder` itself whose names match; neither a link nor what one leads to."""
    try:
        if folder.is_symlink():
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        result.errors.append(error)
        return
    for entry in entries:
        if not pattern.fullmatch(entry.name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            result.errors.append(error)
            continue
        if stat.S_ISREG(status.st_mode):
            inode = (status.st_dev, status.st_ino)
            yield _Found(Path(entry.path), status.st_size, status.st_mtime, inode)


def _stamped_at(name: re.Pattern[str], found: _Found) -> float:
    """When a file got its name, in Unix seconds: it may have been unchanged for long before that."""
    stamp = name.sub(r"\1", found.path.name)
    try:
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # digits that are no time: not ours
        return inf
    return max(found.modified, moment.timestamp())


def _open_inodes(pids: Collection[int]) -> set[tuple[int, int]]:
    """Device and inode of every file that one of these processes has open."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):  # it was closed
                    status = os.stat(f"/proc/{pid}/fd/{name}")
                    found.add((status.st_dev, status.st_ino))
    return found


def _remove(kind: str, found: _Found, result: Sweep) -> int:
    """Remove a file; the bytes that this freed."""
    try:
        found.path.unlink()
    except FileNotFoundError:
        return found.size
    except OSError as error:
        result.errors.append(error)
        return 0
    result.removed[kind] = result.removed.get(kind, 0) + 1
    result.freed_bytes += found.size
    return found.size


def _trim(found: _Found, keep: int, result: Sweep) -> None:
    """Keep the newest `keep` bytes, in the same file: its writer appends, and goes on at its end."""
    if found.size <= keep:
        return
    try:
        fd = os.open(found.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            newest = os.pread(fd, keep, found.size - keep) if keep else b""
            os.ftruncate(fd, 0)
            os.pwrite(fd, newest.partition(b"\n")[2], 0)
        finally:
            os.close(fd)
    except OSError as error:
        result.errors.append(error)
        return
    result.trimmed += 1
    result.freed_bytes += found.size - keep
