"""``python -m levibot.doctor.forkserver_probe``: start a forkserver as the daemon does, and say how it is.

Prints JSON: whether a worker found the modules preloaded, and how many threads the forkserver has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import multiprocess
import multiprocess.forkserver


def threads_of(pid: int) -> int:
    """Threads of a process.

    Raises
    ------
    OSError
        If there is no such process.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Threads:")))


def report(pipe: Any) -> None:
    """Runs in a child of the forkserver."""
    pipe.send("levibot.supervisor.preload" in sys.modules)


def main() -> None:
    """Start one worker of a forkserver."""
    from levibot.supervisor import forkserver

    forkserver.prestart()
    context = multiprocess.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=report, args=(sender,))
    child.start()
    sender.close()
    preloaded = receiver.recv()
    threads = threads_of(multiprocess.forkserver._forkserver._forkserver_pid)
    child.join()
    multiprocess.forkserver._forkserver._stop()
    print(json.dumps({"preloaded": preloaded, "threads": threads}))


if __name__ == "__main__":
    main()
