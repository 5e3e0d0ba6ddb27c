"""A daemon for each test, as for the tests of the daemon itself."""

from __future__ import annotations

from tests.daemon.conftest import make_daemon

__all__ = ["make_daemon"]
