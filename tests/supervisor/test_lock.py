"""Two supervisors on one data directory are impossible."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from levibot.errors import AlreadyRunningError, StopError
from levibot.supervisor.lock import acquire, read_holder
from workers.runtime import process_start_ticks

HOLD = """
import subprocess, sys, time
from pathlib import Path
from levibot.supervisor.lock import acquire
lock = acquire(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "60"], close_fds=False) if "--child" in sys.argv else None
print(child.pid if child else 0, flush=True)
time.sleep(60)
"""


@contextmanager
def other_supervisor(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock, and the pid of a child of it or 0."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process, child
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "supervisor.lock"


def test_the_second_is_told_who_holds_it_and_since_when(path: Path) -> None:
    with other_supervisor(path) as (process, _):
        holder = read_holder(path)
        assert holder is not None
        assert holder.pid == process.pid
        with pytest.raises(
            AlreadyRunningError, match=f"pid {process.pid}, started at 2.*levibotctl stop"
        ) as caught:
            acquire(path)
        assert holder.started_at in str(caught.value)
        assert str(path.parent) in str(caught.value)
        assert read_holder(path) == holder  # the attempt changed nothing


def test_the_lock_names_its_holder(path: Path) -> None:
    lock = acquire(path)
    try:
        written = json.loads(path.read_text())
        assert written["pid"] == os.getpid()
        assert written["start_ticks"] == process_start_ticks(os.getpid())
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        lock.release()


def test_a_released_lock_is_free_and_names_no_one(path: Path) -> None:
    lock = acquire(path)
    lock.release()
    lock.release()
    assert read_holder(path) is None
    acquire(path).release()


def test_a_killed_supervisor_holds_nothing_even_if_a_child_lives_on(path: Path) -> None:
    with other_supervisor(path, "--child") as (process, child):
        process.kill()
        process.wait()
        os.kill(child, 0)
        assert path.stat().st_size > 0
        assert read_holder(path) is None
        acquire(path).release()


@pytest.mark.parametrize(
    "left",
    [
        "",
        "garbage",
        '{"pid": 1, "start_ticks": -1, "started_at": "2020-01-01T00:00:00+00:00"}',
        '{"pid": 4194305, "start_ticks": 5, "started_at": "2020-01-01T00:00:00+00:00"}',
    ],
)
def test_a_stale_file_does_not_matter(path: Path, left: str) -> None:
    path.parent.mkdir()
    path.write_text(left)
    assert read_holder(path) is None
    lock = acquire(path)
    holder = read_holder(path)
    assert holder is not None
    assert holder.pid == os.getpid()
    lock.release()


def test_a_reused_pid_is_not_named_as_the_holder(path: Path) -> None:
    with other_supervisor(path):
        stranger = {"pid": os.getpid(), "start_ticks": 1, "started_at": "2020-01-01T00:00:00+00:00"}
        path.write_text(json.dumps(stranger))
        with pytest.raises(AlreadyRunningError, match="another process holds") as caught:
            acquire(path)
        assert str(os.getpid()) not in str(caught.value).replace(str(path.parent), "")


def test_of_many_that_start_at_once_one_wins(path: Path) -> None:
    code = HOLD.replace("print(", "print('won',").replace("time.sleep(60)", "sys.stdin.read()")
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        deadline = time.monotonic() + 30
        while sum(starter.poll() is None for starter in starters) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        alive = [starter for starter in starters if starter.poll() is None]
        assert len(alive) == 1
        holder = read_holder(path)
        assert holder is None or holder.pid == alive[0].pid
    finally:
        outputs = [starter.communicate()[0] for starter in starters]
    assert sum("won" in output for output in outputs) == 1


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StopError, match=r"file/var: cannot be used .*supervisor\.data_dir"):
        acquire(tmp_path / "file" / "var" / "supervisor.lock")
