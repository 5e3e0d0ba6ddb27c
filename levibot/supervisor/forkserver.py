"""The process from which all workers are forked: started first, loaded once, then frozen."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import multiprocess
import multiprocess.forkserver

PRELOAD = "levibot.supervisor.preload"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def prestart() -> None:
    """Start the forkserver, so that it loads its modules while the supervisor loads its own.

    Its environment is frozen now and inherited by every worker: numeric libraries get one thread, for
    their pools hang in a forked child.
    """
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    multiprocess.get_context("forkserver").set_forkserver_preload([PRELOAD])
    with interrupts_held():
        multiprocess.forkserver.ensure_running()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start a forkserver in here: Ctrl-C waits until its preload ignores it, instead of ending an import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
