"""The key of an account is in no process's environment, not even in the one that it was started with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, os, subprocess, sys
from levibot.supervisor.handover import run_again, take_keys
command = [sys.executable, *sys.orig_argv[1:]]
keys = take_keys(os.environ, command)
if len(sys.argv) > 1 and "again" not in os.environ:
    run_again(command, {**os.environ, "again": "1"}, keys)
first = open("/proc/self/environ").read()
child = subprocess.run(["cat", "/proc/self/environ"], capture_output=True, text=True, close_fds=False).stdout
open_files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
handed = [os.readlink(path) for path in open_files if os.path.lexists(path)]
print(json.dumps([keys, first + child + " ".join(handed), os.getpid()]))
"""


def run(tmp_path: Path, *arguments: str, **environ: str) -> tuple[dict[str, str], str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**inherited, "PYTHONPATH": os.getcwd(), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    keys, seen, _ = json.loads(process.stdout)
    return keys, seen


def test_keys_are_taken_out_of_the_environment_and_of_the_first_one_too(tmp_path: Path) -> None:
    keys, seen = run(tmp_path, LEVIBOT_API_KEY="key-1234567", LEVIBOT_API_SECRET="secret-é")
    assert keys == {"LEVIBOT_API_KEY": "key-1234567", "LEVIBOT_API_SECRET": "secret-é"}
    assert "key-1234567" not in seen
    assert "secret-" not in seen
    assert "memfd" not in seen


def test_a_program_that_runs_itself_again_hands_them_on(tmp_path: Path) -> None:
    keys, seen = run(tmp_path, "twice", LEVIBOT_API_KEY="key-1234567")
    assert keys == {"LEVIBOT_API_KEY": "key-1234567"}
    assert "key-1234567" not in seen


def test_without_keys_nothing_is_run_again(tmp_path: Path) -> None:
    assert run(tmp_path)[0] == {}
