"""Files with secrets: which are private enough to be read, and which are not, for all that hold some."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from levibot.errors import StopError

FlawKind = Literal["unreadable", "link", "no file", "owner", "mode"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a file must not be used.

    Attributes
    ----------
    what
        Follows the name of the file, as in ``belongs to user 0``.
    remedy
        What to do about it.
    """

    kind: FlawKind
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


class PrivateFileError(StopError):
    """A file with a secret is not used; the text names it and the remedy, never what it holds."""


def flaw_of(path: Path, found: os.stat_result, owner: int) -> Flaw | None:
    """What is wrong with a file that only `owner` may read; None: nothing.

    Parameters
    ----------
    path
        Its name, for the remedy.
    found
        What is known of it; best of the open file.
    owner
        User whose it must be.
    """
    if not stat.S_ISREG(found.st_mode):
        return Flaw("no file", "is no file", "correct the path")
    if found.st_uid != owner:
        return Flaw("owner", f"belongs to user {found.st_uid}", f"`chown {owner} {path}`")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return Flaw("mode", f"has mode {mode:04o}: others can use it", f"`chmod 600 {path}`")
    return None


def look_at(path: Path, owner: int) -> Flaw | None:
    """The same for a file that need not be opened, the link that leads to it included."""
    try:
        link, found = path.lstat(), path.stat()
    except OSError as error:
        return _unreadable(error)
    if link.st_uid not in (0, owner):
        return _foreign_link(link)
    return flaw_of(path, found, owner)


def read_private(path: Path, name: str, longest: int, owner: int | None = None) -> bytes:
    """Content of a file that nobody but its owner can read.

    A symbolic link is followed if it is the owner's or root's: then nobody else can bend it.

    Parameters
    ----------
    path
        The file.
    name
        How errors call it, such as the key of the configuration and the path.
    longest
        Bytes that it may hold.
    owner
        Whose it must be; default: the user of this process.

    Raises
    ------
    PrivateFileError
        If it cannot be read, is somebody else's, can be read by others, or is too long.
    """
    owner = os.geteuid() if owner is None else owner
    try:
        link = path.lstat()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PrivateFileError(f"{name} {_unreadable(error)}") from error
    try:
        foreign = _foreign_link(link) if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, owner) else None
        flaw = foreign or flaw_of(path, os.fstat(fd), owner)
        if flaw is not None:
            raise PrivateFileError(f"{name} {flaw}")
        content = os.read(fd, longest + 1)
    finally:
        os.close(fd)
    if len(content) > longest:
        raise PrivateFileError(f"{name} is larger than {longest} bytes; correct the path")
    return content


def _unreadable(error: OSError) -> Flaw:
    return Flaw("unreadable", f"cannot be read ({error.strerror})", "create it, or correct the path")


def _foreign_link(link: os.stat_result) -> Flaw:
    return Flaw("link", f"is a link of user {link.st_uid}, who may bend it", "put the file there itself")
