"""The dead man's switch of a live broker: it alone outlives its supervisor, for a moment, to cancel entries."""

from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path

EXIT_CODE = 70  # ended by the switch


class DeadMan:
    """Knows when the supervisor is gone, and ends this process a while later, whatever it does then.

    A thread of its own waits for the kernel to say that nobody holds the leash any more, so a loop that is stuck
    is ended too; one that is stuck without letting go of the interpreter is left to the next supervisor, which
    kills who still holds a fence.

    Parameters
    ----------
    leash
        FIFO that the supervisor holds open for writing, and never writes to.
    grace_s
        Seconds from then on until the process ends.

    Attributes
    ----------
    left_alone
        Whether the supervisor is gone.
    """

    def __init__(self, leash: Path, grace_s: float) -> None:
        self.left_alone = False
        self._fd = os.open(leash, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._grace_s = grace_s
        threading.Thread(target=self._watch, name="dead-man", daemon=True).start()

    def _watch(self) -> None:
        hang_up = select.poll()
        hang_up.register(self._fd, 0)  # the end of the last writer is told without being asked for
        hang_up.poll()
        self.left_alone = True
        time.sleep(self._grace_s)
        os._exit(EXIT_CODE)
