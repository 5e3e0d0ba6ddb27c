"""The operator's command: what it gets, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from levibot.alerting.hook import Hook
from tests.deadline import wait_for

DOCUMENT = {"notice": "1-raised", "key": "disk_low"}


def run(*command: str, document: dict[str, Any] | None = None, timeout: float = 10.0) -> str:
    return asyncio.run(Hook(command).run(document or DOCUMENT, timeout))


def script(code: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", code)


def test_it_gets_the_notice_as_json(tmp_path: Path) -> None:
    path = tmp_path / "got"
    assert run("/bin/sh", "-c", f"cat > {path}") == ""
    assert json.loads(path.read_bytes()) == DOCUMENT


def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "made"
    assert run("/bin/echo", f"; touch {path}") == ""
    assert not path.exists()


def test_an_exit_code_is_a_failure_with_the_first_of_what_it_said() -> None:
    said = run("/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' 'y'; printf 'a\\033b' >&2; exit 3")
    assert said.startswith("ended with exit code 3: yyy")
    assert len(said) < 300
    assert run("/bin/sh", "-c", "printf 'a\\033b' >&2; exit 3") == "ended with exit code 3: a b"
    assert run("/bin/sh", "-c", "kill -9 $$") == "killed by signal 9"


def test_one_that_does_not_exist_or_reads_nothing() -> None:
    assert run("/nowhere/hook") == "cannot be run (No such file or directory)"
    assert run("/bin/true", document={"big": "x" * 1_000_000}) == ""


def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"os.fork()\nfile = open({str(path)!r}, 'ab')\nfile.write(b'%d\\n' % os.getpid())\nfile.flush()\n"
        "time.sleep(600)"
    )
    assert run(*script(code), timeout=2.0) == "killed, as it took longer than 2 s"
    pids = [int(line) for line in path.read_text().split()]
    assert len(pids) == 2
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and _runs(pid) for pid in pids), "both to be gone")


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" and os.getpid() != pid
