"""What tests of several packages need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket name; a unix socket takes 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="levi-") as name:
        yield Path(name)
