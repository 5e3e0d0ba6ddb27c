"""Files with secrets, one a line: read only if nobody else can, and read again when they change."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from levibot.errors import StopError

_LONGEST = 65_536


class SecretFileError(StopError):
    """The file is not used; the text names it and the remedy, never what it holds."""


@dataclass(frozen=True, slots=True)
class SecretLine:
    """One line of such a file. Its text is in no repr, so in no log and no traceback."""

    number: int
    text: str

    @property
    def digest(self) -> str:
        """Names the line without telling it, wherever it moves in the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"line {self.number}"


class SecretFile:
    """A file that only its owner can read.

    Parameters
    ----------
    key
        Of the configuration, for texts.
    path
        The file.
    owner
        Whose it must be; default: the user of this process.
    """

    def __init__(self, key: str, path: Path, owner: int | None = None) -> None:
        self.key = key
        self.path = path
        self._owner = os.geteuid() if owner is None else owner
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether the file is another than at the last call."""
        seen: tuple[int, ...]
        try:
            found = self.path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid)
        except OSError as error:
            seen = (error.errno or 0,)
        if seen == self._seen:
            return False
        self._seen = seen
        return True

    def read(self) -> list[SecretLine]:
        """Its lines, without empty ones and comments (``#``).

        Raises
        ------
        SecretFileError
            If it cannot be read, is somebody else's, can be read by others, or is no text.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})", "create it, or correct the path") from error
        try:
            self._check(os.fstat(fd))
            content = os.read(fd, _LONGEST + 1)
        finally:
            os.close(fd)
        if len(content) > _LONGEST:
            raise self._error(f"is larger than {_LONGEST} bytes", "one URL a line is all that belongs there")
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError:
            raise self._error("is no UTF-8 text", "save it as UTF-8") from None  # its text holds the content
        stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
        return [SecretLine(number, line) for number, line in stripped if line and not line.startswith("#")]

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._error("is no file", "correct the path")
        if found.st_uid != self._owner:
            raise self._error(f"belongs to user {found.st_uid}", f"`chown {self._owner} {self.path}`")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise self._error(f"has mode {mode:04o}: others can use it", f"`chmod 600 {self.path}`")

    def _error(self, what: str, remedy: str) -> SecretFileError:
        return SecretFileError(f"alerts.{self.key} {self.path} {what}; {remedy}")
