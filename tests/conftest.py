"""What tests of several packages need."""

from __future__ import annotations

import os
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless ``make test-long`` asks for it."""
    if os.environ.get("LEVIBOT_TEST_LONG"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
