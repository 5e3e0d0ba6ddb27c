"""Prometheus itself and promtool, as Debian packages them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
_UNPACKED = ROOT / ".tools" / "usr" / "bin"


def program(name: str) -> str:
    """Path of ``prometheus`` or ``promtool``; skips the test where neither `make tools` nor Debian put it."""
    found = shutil.which(str(_UNPACKED / name)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: `make tools` unpacks it from Debian's package prometheus")
    return found


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Run promtool; the test fails with its words if it finds anything to say."""
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip(), done.stderr
