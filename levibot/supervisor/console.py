"""Starts the live table as a process of its own: a terminal that blocks must never block the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class ConsoleProcess:
    """The table of a daemon in the foreground. It ends when its stdin does, so it cannot outlive us.

    Parameters
    ----------
    api_socket
        Where it asks for the status.
    """

    def __init__(self, api_socket: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "levibot.console", "--socket", str(api_socket)], stdin=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        """Of the process that draws."""
        return self._process.pid

    def close(self) -> None:
        """Let it restore the terminal and go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def terminal_is_there() -> bool:
    """Whether the terminal of this process is still open."""
    try:
        os.tcgetpgrp(sys.stdout.fileno())
    except OSError:
        return False
    return True
