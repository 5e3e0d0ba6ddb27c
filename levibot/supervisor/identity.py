"""Who this state directory is, and which start of its supervisor this is."""

from __future__ import annotations

import re
import secrets
import socket
import string
import time
from pathlib import Path

from levibot.config import Config
from levibot.durable import read_bytes, set_aside, write_atomic
from levibot.errors import CorruptStoreError

_ALPHABET = string.ascii_uppercase + string.digits[2:]  # no 0 and 1: they read as O and I
_INSTANCE = re.compile(rf"[{_ALPHABET}]{{4}}")


def full_name(config: Config) -> str:
    """Tells this daemon from all others: mode, exchange and account, host, data directory."""
    return f"{config.state_dir.name}@{socket.gethostname()}:{config.supervisor.data_dir}"


def instance(state_dir: Path) -> str:
    """Identity of `state_dir`: four characters of A–Z and 2–9, made once and kept for ever.

    It is part of every client order id, and only orders with it are ever adopted. So a damaged file is
    never replaced: a new identity would disown what rests on the exchange.

    Raises
    ------
    CorruptStoreError
        If the file holds something else.
    DataStoreError
        If it cannot be read or written.
    """
    path = state_dir / "instance"
    data = read_bytes(path)
    if data is None:
        made = "".join(secrets.choice(_ALPHABET) for _ in range(4))
        write_atomic(path, f"{made}\n".encode())
        return made
    text = data.decode("ascii", errors="replace").strip()
    if not _INSTANCE.fullmatch(text):
        raise CorruptStoreError(
            path,
            "does not hold four characters of A-Z and 2-9; write those that the client order ids in the "
            "ledgers begin with",
        )
    return text


def new_epoch(state_dir: Path) -> int:
    """Number of this start of the supervisor: greater than that of every start before.

    A damaged counter is set aside. The count then goes on from Unix time in seconds, which is far above
    what a counter of starts can have reached.

    Raises
    ------
    DataStoreError
        If the counter cannot be read or written; without it old grants could not be told from new ones.
    """
    path = state_dir / "epoch"
    data = read_bytes(path)
    if data is None:
        epoch = 1
    elif re.fullmatch(rb"[0-9]{1,18}\n", data):
        epoch = int(data) + 1
    else:
        set_aside(path)
        epoch = int(time.time())
    write_atomic(path, f"{epoch}\n".encode())
    return epoch
