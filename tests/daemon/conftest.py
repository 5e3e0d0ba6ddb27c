"""A daemon for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import DaemonUnderTest, daemon

MakeDaemon = Callable[..., DaemonUnderTest]


@pytest.fixture
def make_daemon(run_dir: Path) -> Iterator[MakeDaemon]:
    """Makes daemons that are gone, with all their processes, when the test ends."""
    with ExitStack() as stack:

        def make(**settings: Any) -> DaemonUnderTest:
            return stack.enter_context(daemon(run_dir, **settings))

        yield make


@pytest.fixture
def switch(run_dir: Path) -> Path:
    """File whose existence makes a faulty strategy misbehave."""
    return run_dir / "switch"
