"""The live table as a process on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from levibot.console import PositionChanges
from tests.api.small_daemon import SmallDaemon, serving
from tests.deadline import wait_for

_HIDE_CURSOR, _SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A console process with a terminal as its output."""

    def __init__(self, socket_path: Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "levibot.console", "--socket", str(socket_path)],
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(slave)
        self._seen = b""

    def seen(self) -> bytes:
        """All that has been drawn so far."""
        while select.select([self._master], [], [], 0.01)[0]:
            try:
                self._seen += os.read(self._master, 1 << 16)
            except OSError:  # the other end is closed
                break
        return self._seen

    def ended(self) -> bool:
        self.seen()  # a terminal that nobody reads blocks the process, which then cannot end
        return self.process.poll() is not None

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._master)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def terminal(run_dir: Path, stack: ExitStack) -> Iterator[Terminal]:
    stack.enter_context(serving(SmallDaemon(), run_dir / "api.sock"))
    terminal = Terminal(run_dir / "api.sock")
    wait_for(lambda: b"BTC/USDT" in terminal.seen(), "the table")
    yield terminal
    terminal.close()


def test_it_ends_with_its_stdin_and_leaves_ctrl_c_to_the_daemon(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGINT)
    drawn = len(terminal.seen())
    wait_for(lambda: len(terminal.seen()) > drawn, "the next refresh")
    assert terminal.process.stdin is not None
    terminal.process.stdin.close()
    wait_for(terminal.ended, "the end")
    assert terminal.process.returncode == 0
    assert terminal.seen().rindex(_SHOW_CURSOR) > terminal.seen().rindex(_HIDE_CURSOR)
    assert b"positions remain:\r\n  BTC/USDT +0.5, stop of 0.5 at 95 on the exchange" in terminal.seen()


def test_it_ends_when_the_daemon_is_gone(terminal: Terminal, stack: ExitStack) -> None:
    stack.close()
    wait_for(terminal.ended, "the end")
    assert terminal.process.returncode == 0
    assert terminal.seen().rindex(_SHOW_CURSOR) > terminal.seen().rindex(_HIDE_CURSOR)


def test_it_restores_the_terminal_when_it_is_terminated(terminal: Terminal) -> None:
    terminal.process.terminate()
    wait_for(terminal.ended, "the end")
    assert terminal.seen().rindex(_SHOW_CURSOR) > terminal.seen().rindex(_HIDE_CURSOR)


def engines(**positions: float | None) -> dict[str, Any]:
    return {
        "engines": [
            {"symbol": symbol, "position": position, "price": 100.0} for symbol, position in positions.items()
        ]
    }


def test_changes_of_positions_are_told_once() -> None:
    changes = PositionChanges()
    assert changes.update(engines(A=1.0, B=0.0)) == []
    (bought,) = changes.update(engines(A=1.5, B=0.0))
    assert "A bought 0.5 near 100, position +1.5" in bought.plain
    assert changes.update(engines(A=None, B=0.0)) == [bought], "a dead engine has sold nothing"
    _, sold = changes.update(engines(A=-1.0, B=0.0))
    assert "A sold 2.5 near 100, position -1" in sold.plain
    *_, closed = changes.update(engines(A=0.0, B=0.0))
    assert "A bought 1 near 100, no position left" in closed.plain


def test_only_the_newest_changes_are_kept() -> None:
    changes = PositionChanges()
    for number in range(20):
        shown = changes.update(engines(A=float(number)))
    assert [line.plain.rpartition("+")[2] for line in shown] == ["15", "16", "17", "18", "19"]
