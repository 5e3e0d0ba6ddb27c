"""What a check found, and what all checks may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from levibot.config import Config

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    found: str
    remedy: str = ""  # empty where nothing is wrong


@dataclass(frozen=True)
class Patient:
    """What is examined.

    Parameters
    ----------
    config
        In force; the embedded defaults where the file is wrong.
    config_path
        Its file, if there is one.
    run_dir
        Folder of the sockets.
    environ
        The environment.
    status
        Status document of the running daemon; None if none runs.
    """

    config: Config
    config_path: Path | None
    run_dir: Path
    environ: Mapping[str, str]
    status: Mapping[str, Any] | None = None

    @property
    def data_dir(self) -> Path:
        """Folder of the state."""
        return self.config.supervisor.data_dir

    @property
    def daemon(self) -> Mapping[str, Any]:
        """The daemon's own part of the status document; empty if none runs."""
        return self.status["daemon"] if self.status is not None else {}

    @property
    def workers(self) -> list[Mapping[str, Any]]:
        """Entries of all workers of the running daemon."""
        return [*self.status["engines"], *self.status["workers"]] if self.status is not None else []


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    while not path.exists():
        path = path.parent
    return path
