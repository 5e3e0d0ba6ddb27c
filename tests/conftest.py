"""What tests of several packages need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("levibot", deadline=None)  # a slow machine is no failure
settings.load_profile("levibot")


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket name; a unix socket takes 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="levi-") as name:
        yield Path(name)
