"""Processes that still hold a fence are killed, and no one else ever is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from levibot.supervisor.orphans import StaleHolder, clear_stale_holders
from workers.runtime import Fence, process_start_ticks

HOLD = """
import os, signal, sys, time
from pathlib import Path
from workers.runtime import Fence
signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert Fence(Path(sys.argv[1])).acquire()
print("held", flush=True)
if sys.argv[2] == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
sys.stdin.read() if sys.argv[2] == "ends" else time.sleep(60)
"""


@contextmanager
def orphan(path: Path, kind: str = "stuck") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the fence `path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def fences(tmp_path: Path) -> Path:
    return tmp_path / "fences"


def test_nothing_is_done_where_nothing_is_held(fences: Path) -> None:
    assert clear_stale_holders(fences, 60.0) == []
    fences.mkdir()
    (fences / "feed.lock").write_text(f"{os.getppid()} {process_start_ticks(os.getppid())}\n")
    assert clear_stale_holders(fences, 60.0) == []


@pytest.mark.parametrize("kind", ["stuck", "stopped"])
def test_a_holder_is_killed_after_the_grace(fences: Path, kind: str) -> None:
    path = fences / "engine-BTC-USDT.lock"
    with orphan(path, kind) as process:
        assert clear_stale_holders(fences, 0.2) == [StaleHolder("engine-BTC-USDT", "killed", process.pid)]
        assert process.wait(60) == -9
        assert Fence(path).acquire()


def test_all_share_one_grace_and_each_is_reported(fences: Path) -> None:
    with orphan(fences / "broker.lock") as broker, orphan(fences / "feed.lock") as feed:
        assert clear_stale_holders(fences, 0.1) == [
            StaleHolder("broker", "killed", broker.pid),
            StaleHolder("feed", "killed", feed.pid),
        ]


def test_a_holder_that_ends_within_the_grace_is_not_signalled(fences: Path) -> None:
    with orphan(fences / "broker.lock", "ends") as process:
        assert process.stdin is not None
        end = threading.Timer(1.0, process.stdin.close)
        end.start()
        try:
            assert clear_stale_holders(fences, 60.0) == [StaleHolder("broker", "released", None)]
            assert process.wait(60) == 0
        finally:
            end.join()


def test_a_stranger_with_a_reused_pid_is_never_signalled(fences: Path) -> None:
    path = fences / "feed.lock"
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with orphan(path) as process:
            path.write_text(f"{stranger.pid} {process_start_ticks(stranger.pid) - 1}\n")
            found = clear_stale_holders(fences, 0.1)
            assert found == [StaleHolder("feed", "unidentified", None)]
            assert found[0].holds
            assert stranger.poll() is None
            assert process.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    "text", [b"", b"12", b"a b\n", b"\xff\n", b"1 2 3\n", b"1 1\n", b"-1 5\n", b"99999999999 5\n"]
)
def test_a_holder_that_cannot_be_identified_is_reported_not_signalled(fences: Path, text: bytes) -> None:
    path = fences / "feed.lock"
    with orphan(path) as process:
        path.write_bytes(text)
        assert clear_stale_holders(fences, 0.05) == [StaleHolder("feed", "unidentified", None)]
        assert process.poll() is None


def test_a_dead_pid_in_a_held_fence_is_reported(fences: Path) -> None:
    path = fences / "feed.lock"
    gone = subprocess.Popen(["true"])
    gone.wait()
    with orphan(path) as process:
        path.write_text(f"{gone.pid} 5\n")
        assert clear_stale_holders(fences, 0.05) == [StaleHolder("feed", "unidentified", None)]
        assert process.poll() is None


def test_this_process_is_never_killed(fences: Path) -> None:
    fence = Fence(fences / "feed.lock")
    assert fence.acquire()
    assert clear_stale_holders(fences, 0.05) == [StaleHolder("feed", "unidentified", None)]
