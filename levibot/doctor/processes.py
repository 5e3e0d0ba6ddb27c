"""Can workers be started and held as the supervisor needs it?"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from levibot.doctor.finding import Finding, Patient
from levibot.doctor.forkserver_probe import threads_of

_PROBE_SECONDS = 30.0
_READ_ERRORS = "run `python -m levibot.supervisor.preload`: it shows the error that the forkserver swallows"


def check_processes(patient: Patient) -> Iterator[Finding]:
    """Preloading, the forkserver's threads, and what the kernel must offer."""
    if patient.daemon:
        loaded = {worker["worker"]: worker["preloaded"] for worker in patient.workers}
        missing = [name for name, preloaded in loaded.items() if preloaded is False]
        yield judge_preload(missing, sum(preloaded is True for preloaded in loaded.values()))
        yield _running_forkserver(patient.daemon["forkserver_pid"])
    else:
        yield from _own_forkserver()
    yield check_kernel()


def judge_preload(missing: list[str], loaded: int) -> Finding:
    """Judge whether workers found the light modules in shared memory."""
    if missing:
        found = f"did not take in {', '.join(missing)}: they start slowly and take more memory"
        return Finding("preload", "fail", found, _READ_ERRORS)
    return Finding("preload", "ok", f"took in {loaded} workers")


def judge_forkserver(threads: int) -> Finding:
    """Judge the threads of the forkserver."""
    if threads != 1:
        remedy = "something that is preloaded starts a thread: take it out of levibot/supervisor/preload.py"
        return Finding("forkserver", "fail", f"{threads} threads: whatever is forked from it may hang", remedy)
    return Finding("forkserver", "ok", "one thread")


def check_kernel() -> Finding:
    """Whether the kernel has what death and its notice hang on: pidfd, and signals on a pipe."""
    remedy = "use Linux 5.4 or newer; in a container, a seccomp profile that allows pidfd_open and fcntl"
    try:
        pidfd = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(pidfd, 0)
        finally:
            os.close(pidfd)
        reader, writer = os.pipe()
        try:
            fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default, if it comes at all
            fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
        finally:
            os.close(reader)
            os.close(writer)
    except (OSError, AttributeError) as error:
        return Finding("kernel", "fail", f"Linux {os.uname().release}: {error}", remedy)
    return Finding("kernel", "ok", f"Linux {os.uname().release}: pidfd, O_ASYNC")


def _running_forkserver(pid: int | None) -> Finding:
    if pid is not None:
        with contextlib.suppress(OSError):
            return judge_forkserver(threads_of(pid))
    return Finding("forkserver", "warn", "is being replaced", "look again; see `levibotctl logs supervisor`")


def _own_forkserver() -> Iterator[Finding]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "levibot.doctor.forkserver_probe"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=True,
        )
        answer = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        said = getattr(error, "stderr", "") or str(error)
        yield Finding("forkserver", "fail", f"starts no worker: {said.strip().splitlines()[-1]}", _READ_ERRORS)
        return
    yield judge_preload([] if answer["preloaded"] else ["a worker that was started for this"], 1)
    yield judge_forkserver(answer["threads"])
