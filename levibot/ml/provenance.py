"""What a model was made by and from: versions, commit, and a digest of the data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

import levibot
from levibot.ml.splits import Split


def data_digest(symbols: Sequence[str], features: Sequence[str], spans: Split) -> str:
    """SHA-256 of all rows and labels, by span; `symbols` and rows in an order that no file name changes."""
    digest = hashlib.sha256("\n".join((*symbols, "", *features)).encode())
    for rows in spans:
        for column in rows:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def libraries(names: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of what else a model depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def commit() -> str | None:
    """Commit of the code that runs, with ``-dirty`` if it was changed since; None outside a checkout."""
    root = Path(levibot.__path__[0]).parent
    if not (root / ".git").exists():  # a repository further up is somebody else's
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
