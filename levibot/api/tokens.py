"""Bearer tokens of the TCP port: files that only the daemon's user can read."""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from levibot.durable import write_atomic
from levibot.errors import StopError
from levibot.private_file import flaw_of

TOKEN_FILE, READ_TOKEN_FILE = "api-token", "api-read-token"
_BYTES = 32
_FORM = re.compile(rb"[A-Za-z0-9_.~+/=-]{32,512}")  # what may stand behind `Bearer`, and is not guessed
_LONGEST = 1024


@dataclass(frozen=True)
class Tokens:
    """What requests must carry.

    Parameters
    ----------
    path, read_path
        Files of the token for everything, and of the one for reading alone.
    full, reading
        Their content; None for `reading`: whoever reaches the port may read.
    repaired
        What was found wrong with the files and set right, for the operator.
    """

    path: Path
    read_path: Path
    full: bytes = field(repr=False)
    reading: bytes | None = field(repr=False)
    repaired: tuple[str, ...] = ()

    def allow(self, given: bytes, *, changing: bool) -> bool:
        """Whether a token is good for a request; takes the same time however much of it is right."""
        full = secrets.compare_digest(given, self.full)
        reading = self.reading is not None and secrets.compare_digest(given, self.reading)
        return full or (reading and not changing)


def open_tokens(data_dir: Path, *, reading: bool) -> Tokens:
    """Read the tokens, and make those that are missing.

    Parameters
    ----------
    data_dir
        Folder of the files.
    reading
        Whether reading needs a token too.

    Raises
    ------
    StopError
        If a file cannot be trusted or read; the text names it and never what it holds.
    DataStoreError
        If one cannot be written.
    """
    path, read_path = data_dir / TOKEN_FILE, data_dir / READ_TOKEN_FILE
    repaired: list[str] = []
    full = _open(path, repaired)
    return Tokens(path, read_path, full, _open(read_path, repaired) if reading else None, tuple(repaired))


def _open(path: Path, repaired: list[str]) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        token = secrets.token_urlsafe(_BYTES).encode()
        write_atomic(path, token + b"\n")
        return token
    except OSError as error:
        raise StopError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    try:
        found = os.fstat(fd)
        flaw = flaw_of(path, found, os.geteuid())
        if flaw is not None and flaw.kind != "mode":
            raise StopError(f"{path}: is no file of this user, so anybody may know it; {_REMEDY}")
        if flaw is not None:
            os.fchmod(fd, 0o600)
            repaired.append(f"{path} could be read by others (mode {stat.S_IMODE(found.st_mode):04o})")
        token = os.read(fd, _LONGEST).strip()
    finally:
        os.close(fd)
    if not _FORM.fullmatch(token):
        raise StopError(f"{path}: holds no token (32 letters and digits at least); {_REMEDY}")
    return token


_REMEDY = "remove it, and a new one is made within seconds"
