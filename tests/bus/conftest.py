"""Sockets in a short folder of their own, closed after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from levibot.bus.forwarder import Forwarder
from levibot.bus.sockets import ipc


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A context whose sockets are closed with it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def publishers(run_dir: Path) -> str:
    """Where publishers connect."""
    return ipc(run_dir / "publishers")


@pytest.fixture
def subscribers(run_dir: Path) -> str:
    """Where subscribers connect."""
    return ipc(run_dir / "subscribers")


@pytest.fixture
def forwarder(publishers: str, subscribers: str) -> Iterator[Forwarder]:
    """A forwarder between the two."""
    forwarder = Forwarder(publishers, subscribers)
    yield forwarder
    forwarder.close()
