"""Lines that run only in a worker process count: the project's own settings, on a package of two files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

TEST = """
import subprocess, sys
subprocess.run([sys.executable, "-m", "levibot.daemon"], check=True)
"""
DAEMON = """
import multiprocess
from workers.child import work

if __name__ == "__main__":
    forkserver = multiprocess.get_context("forkserver")
    forkserver.set_forkserver_preload(["workers.child"])
    worker = forkserver.Process(target=work, args=(2,))
    worker.start()
    worker.join()
"""
CHILD = """
def work(number):
    if number > 1:
        number = number + 1
    else:
        number = number - 1
"""


def test_lines_that_run_only_in_a_worker_are_counted(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test.py").write_text(TEST, encoding="utf-8")
    for name, text in {"levibot/daemon.py": DAEMON, "workers/child.py": CHILD}.items():
        package = tmp_path / Path(name).parent
        package.mkdir()
        (package / "__init__.py").touch()
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = str(tmp_path)

    def coverage(*arguments: str) -> str:
        command = [sys.executable, "-m", "coverage", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    coverage("run", "test.py")
    coverage("combine", "--quiet")
    report = coverage("report", "--fail-under=0", "--include=workers/child.py")
    (line,) = [line for line in report.splitlines() if line.startswith("workers/child.py")]
    assert line.split()[1:] == ["4", "1", "2", "1", "67%", "6"]
