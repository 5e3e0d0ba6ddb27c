"""The dead man's switch: it tells that the supervisor is gone, and ends its process in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from levibot.supervisor.leash import Leash
from tests.deadline import wait_for
from workers.deadman import EXIT_CODE

SCRIPT = """
import sys, time
from pathlib import Path
from workers.deadman import DeadMan
dead_man = DeadMan(Path(sys.argv[1]), float(sys.argv[2]))
print("armed", flush=True)
while not dead_man.left_alone:
    time.sleep(0.005)
print("alone", flush=True)
if sys.argv[3] == "stuck":
    time.sleep(600)
"""


@pytest.mark.parametrize(("then", "grace_s", "code"), [("ends", 60.0, 0), ("stuck", 0.3, EXIT_CODE)])
def test_it_is_told_and_ends_by_itself_or_is_ended(tmp_path: Path, then: str, grace_s: float, code: int) -> None:
    leash = Leash(tmp_path / "leash")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(leash.path), str(grace_s), then],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "armed\n"
        time.sleep(0.05)
        assert process.poll() is None
        leash.close()
        assert process.stdout.readline() == "alone\n"
        wait_for(lambda: process.poll() is not None, "it to end")
    assert process.returncode == code
