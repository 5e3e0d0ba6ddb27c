"""Files with secrets, one a line: read only if nobody else can, and read again when they change."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from levibot.private_file import PrivateFileError, read_private

_LONGEST = 65_536


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
        PrivateFileError
            If it cannot be read, is somebody else's, can be read by others, or is no text.
        """
        content = read_private(self.path, self._name, _LONGEST, self._owner)
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError:
            text = f"{self._name} is no UTF-8 text; save it as UTF-8"
            raise PrivateFileError(text) from None  # the error's own text holds the content
        stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
        return [SecretLine(number, line) for number, line in stripped if line and not line.startswith("#")]

    @property
    def _name(self) -> str:
        return f"alerts.{self.key} {self.path}"
