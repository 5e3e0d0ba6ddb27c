"""The supervisor's end of the leash that every worker hangs on."""

from __future__ import annotations

import os
from pathlib import Path


class Leash:
    """A FIFO that this process alone holds open for writing, and never writes to.

    When the process ends, however it ends, the kernel closes the FIFO, and that kills every worker that
    has armed a signal on its reading end.

    Parameters
    ----------
    path
        Made anew; one that a predecessor left is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # or the next line would block
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.close(reader)

    def close(self) -> None:
        """Let go; whoever still hangs on it dies."""
        os.close(self._fd)
        self.path.unlink(missing_ok=True)
