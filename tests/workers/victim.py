"""A worker process, and a supervisor for it, that do as a test tells them.

Run as ``python -m tests.workers.victim SPEC BEHAVIOUR [COUNT]``: starts workers by the forkserver, prints their
pids and waits for the end of its input.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import multiprocess

from levibot.bus.messages import FeedReport
from levibot.errors import StopError
from levibot.spec import WorkerSpec
from levibot.supervisor.leash import Leash
from workers.runtime import Runtime


def report() -> FeedReport:
    """The part of a heartbeat that the worker itself adds."""
    return FeedReport(published=7, symbols={}, event_ms=None, ended=False)


def beat(runtime: Runtime) -> None:
    """Beat and answer commands until told to stop."""
    runtime.status.ready, runtime.status.waiting_for = True, ""
    while True:
        runtime.status.turns += 1
        runtime.beat(report)
        for command in runtime.commands():
            runtime.acknowledge(command, detail=type(command).__name__)
            if type(command).__name__ == "Stop":
                return
        runtime.control.poll(min(20, int(runtime.seconds_to_beat() * 1000)))


def hold_the_interpreter(runtime: Runtime) -> None:
    """Sit in C code that never gives the interpreter's lock back."""
    runtime.beat(report)
    ctypes.PyDLL(None).sleep(1000)


def fence(runtime: Runtime) -> None:
    """Wait for the fence, then beat."""
    runtime.status.waiting_for = "fence"
    while not runtime.fence.acquire():
        runtime.beat(report)
        time.sleep(0.01)
    beat(runtime)


def flood(runtime: Runtime) -> None:
    """Print without end for a while, in Python and in C, then one line more."""
    for number in range(20_000):
        print("line", number)
    os.write(1, b"from C\n")
    sys.stderr.write("half a line")
    time.sleep(1.1)
    print(" and its end")
    beat(runtime)


def give_up(runtime: Runtime) -> None:
    """End by an exception."""
    raise StopError("nothing to do")


BEHAVIOURS: dict[str, Callable[[Runtime], None]] = {
    function.__name__: function for function in (beat, hold_the_interpreter, fence, flood, give_up)
}


def work(payload: str, behaviour: str) -> None:
    """First function of the worker process."""
    BEHAVIOURS[behaviour](Runtime(WorkerSpec.model_validate_json(payload)))


def main() -> None:
    """Be the supervisor."""
    payload, behaviour = Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]
    leash = WorkerSpec.model_validate_json(payload).leash
    assert leash is not None
    held = Leash(leash)
    forkserver = multiprocess.get_context("forkserver")
    forkserver.set_forkserver_preload(["levibot.supervisor.preload"])
    processes = [forkserver.Process(target=work, args=(payload, behaviour)) for _ in range(int(sys.argv[3]))]
    for process in processes:
        process.start()
    print(*(process.pid for process in processes), flush=True)
    sys.stdin.read()
    held.close()


if __name__ == "__main__":
    main()
