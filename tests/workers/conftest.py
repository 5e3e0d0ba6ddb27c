"""One worker and what it talks to; gone when the test is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.broker_house import House
from tests.workers.engine_world import MakeWorld, World


@pytest.fixture
def house(run_dir: Path) -> Iterator[House]:
    """A broker."""
    made = House(run_dir)
    yield made
    made.close()


@pytest.fixture
def make_world(run_dir: Path) -> Iterator[MakeWorld]:
    """Makes engines with settings."""
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        worlds.append(World(run_dir, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
