"""Kill → respawn of circus and of supervisord, with a worker that does nothing at all."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from scripts.bench.children import ROOT
from scripts.bench.figures import LONG, Figure
from scripts.bench.kills import kill_engine, trading_daemon
from scripts.bench.live import wait_for

BIN = ROOT / ".venv-bench" / "bin"
WORKER = ROOT / "scripts" / "bench" / "rival_worker.py"
KILLS = 30 if LONG else 10
PAUSE = 1.5, 3.0  # seconds between two kills: at random, for both look about once a second

CIRCUS = """
[circus]
check_delay = 1
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub

[watcher:worker]
cmd = {command}
copy_env = true
"""
SUPERVISORD = """
[supervisord]
nodaemon = true
logfile = {directory}/log
pidfile = {directory}/pid
childlogdir = {directory}

[program:worker]
command = {command}
autorestart = true
"""


def rows() -> Iterator[Figure]:
    """Figures of the rivals."""
    if not (BIN / "circusd").exists():
        raise RuntimeError("circus and supervisord are not installed; run this by `make bench`")
    with trading_daemon() as daemon:
        ready = [kill_engine(daemon, daemon.symbols[number % len(daemon.symbols)])[1] for number in range(KILLS)]
    ours = Figure("LeviBot: kill -9 → engine ready with its position", tuple(ready), "ms")
    yield ours
    for name, program, template in (
        ("circus", ["circusd", "{config}"], CIRCUS),
        ("supervisord", ["supervisord", "-c", "{config}"], SUPERVISORD),
    ):
        times = kill_again_and_again(program, template)
        note = f"check_delay 1 s; {KILLS} kills" if name == "circus" else f"as installed; {KILLS} kills"
        theirs = Figure(f"{name}: kill -9 → a worker that does nothing runs", tuple(times), "ms", beside=note)
        yield theirs
        yield Figure(f"{name} / LeviBot", (theirs.median / ours.median,), "ratio", 1, "at least")


def kill_again_and_again(program: list[str], template: str) -> list[float]:
    """Milliseconds from each kill until the worker's successor ran."""
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        directory = Path(name)
        config, pid_file = directory / "config.ini", directory / "worker"
        command = f"{sys.executable} {WORKER} {pid_file}"
        config.write_text(template.format(directory=directory, command=command), encoding="utf-8")
        arguments = [str(BIN / program[0]), *(part.format(config=config) for part in program[1:])]
        with (directory / "output").open("wb") as output:
            rival = subprocess.Popen(arguments, cwd=directory, stdout=output, stderr=output)
        try:
            wait_for(pid_file.exists, f"the first worker of {program[0]}")
            return [_respawn_ms(pid_file) for _ in range(KILLS)]
        finally:
            _end(rival)


def _respawn_ms(pid_file: Path) -> float:
    time.sleep(random.uniform(*PAUSE))
    pid = int(pid_file.read_text().split()[0])
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: int(pid_file.read_text().split()[0]) != pid, "a new worker", every=0.001)
    return (float(pid_file.read_text().split()[1]) - killed) * 1000


def _end(rival: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(rival.pid).children(recursive=True)
    rival.terminate()
    try:
        rival.wait(10)
    except subprocess.TimeoutExpired:
        rival.kill()
        rival.wait()
    for child in children:
        if child.is_running():
            child.kill()
