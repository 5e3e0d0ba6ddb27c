"""Has a process kill itself in the middle of a commit: see `trap.c`."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

from levibot.errors import ConfigError

_SOURCE = Path(__file__).with_name("trap.c")
_FORM = struct.Struct("=iiii")


class Step(IntEnum):
    """Where in a commit a process dies; as in `trap.c`."""

    NOTHING_WRITTEN = 1
    PARTLY_WRITTEN = 2
    WRITTEN = 3
    ON_DISK = 4

    @property
    def words(self) -> str:
        """As people read it."""
        return self.name.lower().replace("_", " ")


class Trap:
    """Orders in a file that every process of a daemon has mapped.

    Parameters
    ----------
    folder
        Where library and orders are put.

    Raises
    ------
    ConfigError
        There is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise ConfigError("needs a C compiler (cc): processes are killed from within")
        self._library, self._path = folder / "trap.so", folder / "orders"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self._library, _SOURCE, "-ldl"], check=True)
        self._path.write_bytes(bytes(_FORM.size))
        with self._path.open("r+b") as file:
            self._orders = mmap.mmap(file.fileno(), _FORM.size)

    def environment(self) -> dict[str, str]:
        """Variables by which all processes of a daemon obey."""
        return {"LD_PRELOAD": str(self._library), "TORTURE_ORDERS": str(self._path)}

    def set(self, pid: int, step: Step, commits: int) -> None:
        """Have process `pid` die at that step, after so many further commits."""
        _FORM.pack_into(self._orders, 0, 0, step, commits, 0)
        struct.pack_into("=i", self._orders, 0, pid)  # last: now it counts

    def lift(self) -> bool:
        """Take the order back; whether it was carried out."""
        sprung = bool(_FORM.unpack_from(self._orders)[3])
        struct.pack_into("=i", self._orders, 0, 0)
        return sprung

    def close(self) -> None:
        """Let go of the file."""
        self._orders.close()
