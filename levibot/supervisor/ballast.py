"""A file that takes up room until the disk is full: then it goes, so that exits can still be journaled."""

from __future__ import annotations

import os
from pathlib import Path

BALLAST = "ballast"  # name of the file in the state folder
_FLOOR = 16_000_000  # bytes; logs and a busy broker need seconds for as many


class Ballast:
    """Keeps the file, and knows why it is not there.

    Parameters
    ----------
    path
        Of the file, on the disk that holds the state.

    Attributes
    ----------
    freed
        Why the room was given up; empty if it was not. Nothing may be opened then: what is left is for exits.
    """

    def __init__(self, path: Path) -> None:
        self.freed = ""
        self._path = path

    def look(self, size: int, free: int | None, refused: int) -> None:
        """Give the room up if the disk is full, and take it again when there is enough. Blocks.

        Parameters
        ----------
        size
            Bytes of the file; 0: none is wanted.
        free
            Bytes that are free, None if that is not known.
        refused
            Writes of the books that the disk refused lately: a quota does not show in `free`.

        Raises
        ------
        OSError
            If the file cannot be looked at or removed.
        """
        if not size:
            self._path.unlink(missing_ok=True)
            self.freed = ""
        elif refused or (free is not None and free < _FLOOR):
            self._path.unlink(missing_ok=True)
            why = f"the disk refused {refused} writes" if refused else f"{free} bytes are free on the disk"
            self.freed = self.freed or why
        elif self._size() != size:
            self._path.unlink(missing_ok=True)
            self._take(size, free)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _take(self, size: int, free: int | None) -> None:
        """Take the room, but none that leaves the others so little that it would be given up at once."""
        if free is not None and free < size + 2 * _FLOOR:
            self.freed = self.freed or f"{free} bytes are free on the disk, too few for a ballast of {size}"
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            self.freed = self.freed or f"the disk has no room for a ballast of {size} bytes ({error.strerror})"
            return
        self.freed = ""
