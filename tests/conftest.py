"""What tests of several packages need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import Phase, settings
from hypothesis.internal.conjecture import engine

LONG = bool(os.environ.get("LEVIBOT_TEST_LONG"))

# A slow machine is no failure, and a short run draws fewer examples of each property.
# What fails is told with a blob that repeats it (@reproduce_failure), and before its time is up: a test that is
# interrupted while it shrinks names no example at all.
settings.register_profile(
    "levibot",
    deadline=None,
    max_examples=100 if LONG else 40,
    print_blob=True,
    phases=set(Phase) - {Phase.explain},
)
settings.load_profile("levibot")
assert hasattr(engine, "MAX_SHRINKING_SECONDS"), "the only way to end shrinking early"
engine.MAX_SHRINKING_SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def _unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure no coverage in a module that is ``unmeasured``, nor in processes that its tests start."""
    if LONG or request.node.get_closest_marker("unmeasured") is None:
        yield
        return
    measuring = Coverage.current()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
            patch.delenv(name)
        if measuring is not None:
            measuring.stop()
        yield
        if measuring is not None:
            measuring.start()


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket name; a unix socket takes 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="levi-") as name:
        yield Path(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless ``make test-long`` asks for it."""
    if LONG:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
