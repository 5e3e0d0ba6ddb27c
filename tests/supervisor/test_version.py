"""Changed code is seen, and only changed code is."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import levibot
import workers
from levibot.supervisor.version import CodeGuard, code_fingerprint


def fingerprint_of(root: Path) -> str:
    """Fingerprint that a daemon started from `root` computes."""
    code = "from levibot.supervisor.version import code_fingerprint; print(code_fingerprint())"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment = {**kept, "PYTHONPATH": str(root)}  # what runs in a copy covers no line of ours
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the code that a test may change."""
    for package in (levibot, workers):
        source = Path(package.__path__[0])
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_same_code_has_the_same_fingerprint() -> None:
    assert code_fingerprint() == code_fingerprint()


def test_every_kind_of_change_is_seen(root: Path) -> None:
    seen = [fingerprint_of(root)]
    module = root / "workers" / "entry.py"

    module.write_text(module.read_text() + "# longer\n")
    seen.append(fingerprint_of(root))

    os.utime(module, ns=(1, 1))
    seen.append(fingerprint_of(root))

    (root / "levibot" / "engine" / "added.py").touch()
    seen.append(fingerprint_of(root))

    (root / "levibot" / "engine" / "added.py").rename(root / "levibot" / "engine" / "renamed.py")
    seen.append(fingerprint_of(root))

    assert len(set(seen)) == len(seen)


def test_what_is_not_code_is_no_change(root: Path) -> None:
    before = fingerprint_of(root)
    (root / "levibot" / "__pycache__").mkdir(exist_ok=True)
    (root / "levibot" / "notes.txt").write_text("not code")
    (root / "levibot" / "__pycache__" / "stray.py").write_text("not code either")
    assert fingerprint_of(root) == before


def test_a_guard_without_a_free_descriptor_claims_no_change() -> None:
    guard = CodeGuard()
    time.sleep(1.1)  # it keeps an answer for a second
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            code_fingerprint()
        assert not guard.changed()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
