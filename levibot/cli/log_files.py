"""Reading the daily log files of one worker."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

_POLL = 0.1
_DAILY = re.compile(r"(?P<name>.+)-(?P<day>\d{8})\.jsonl")


class LogFiles:
    """The log of one worker: one file for each UTC day, read as one.

    Parameters
    ----------
    directory
        Folder of the log files; may be missing, or be removed and made again meanwhile.
    name
        Worker name.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name

    def last(self, count: int) -> list[bytes]:
        """The newest `count` lines, oldest first."""
        return _last_lines(self._paths(), count)

    def follow(self, count: int) -> Iterator[bytes]:
        """The same, and then lines as they come, over midnight and over a removed folder; without end."""
        paths = self._paths()
        tail = _Tail(paths[-1]) if paths else None
        newest = deque(tail.lines() if tail is not None else (), maxlen=count)
        yield from _last_lines(paths[:-1], count - len(newest))
        yield from newest
        while True:
            yield from tail.lines() if tail is not None else ()
            successor = self._successor(tail)
            if successor is None:
                time.sleep(_POLL)
                continue
            if tail is not None:
                yield from tail.lines()  # what came between the last look and the change of files
                tail.close()
            tail = _Tail(successor)

    def _paths(self) -> list[Path]:
        """Files of this worker, oldest first."""
        try:
            found = list(self._directory.iterdir())
        except FileNotFoundError:
            return []
        return sorted(path for path in found if (m := _DAILY.fullmatch(path.name)) and m["name"] == self._name)

    def _successor(self, tail: _Tail | None) -> Path | None:
        """The file to read after this one: that of a later day, or the same one made anew."""
        paths = self._paths()
        if tail is None:
            return paths[0] if paths else None
        later = [path for path in paths if path.name > tail.path.name]
        if later:
            return later[0]
        return tail.path if tail.path in paths and tail.replaced() else None


class _Tail:
    """Whole lines of one file, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("rb")
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """Lines that were finished since the last call."""
        while data := self._stream.read(1 << 16):
            *whole, self._rest = (self._rest + data).split(b"\n")
            yield from filter(None, whole)

    def replaced(self) -> bool:
        """Whether another file has our name now."""
        return os.fstat(self._stream.fileno()).st_nlink == 0

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _last_lines(paths: list[Path], count: int) -> list[bytes]:
    lines: list[bytes] = []
    for path in reversed(paths):
        if len(lines) == count:
            break
        tail = _Tail(path)
        lines[:0] = deque(tail.lines(), maxlen=count - len(lines))
        tail.close()
    return lines


def logged_workers(directory: Path) -> set[str]:
    """Names of the workers that have a log."""
    try:
        matches = [_DAILY.fullmatch(path.name) for path in directory.iterdir()]
    except FileNotFoundError:
        return set()
    return {match["name"] for match in matches if match}
