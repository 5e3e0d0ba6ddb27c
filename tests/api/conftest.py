"""A small daemon, served on both ways in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from levibot.api.server import ApiServer
from levibot.config import ApiConfig
from tests.api.requests import free_port
from tests.api.small_daemon import SmallDaemon, serving

Serve = Callable[..., ApiServer]


@pytest.fixture
def daemon() -> SmallDaemon:
    return SmallDaemon()


@pytest.fixture
def socket_path(run_dir: Path) -> Path:
    return run_dir / "api.sock"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def serve(daemon: SmallDaemon, socket_path: Path, port: int) -> Iterator[Serve]:
    """Serves on the unix socket and on `port`; arguments are keys of ``[api]``."""
    with ExitStack() as stack:

        def start(**settings: Any) -> ApiServer:
            config = ApiConfig.model_validate({"port": port, **settings})
            return stack.enter_context(serving(daemon, socket_path, config))

        yield start


@pytest.fixture
def token(socket_path: Path) -> Callable[[], str]:
    """Reads the token for everything, which is there once it is served."""
    return lambda: (socket_path.parent / "api-token").read_text(encoding="ascii").strip()
