"""The worker that rival supervisors run: says that it is there, and waits."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def main(path: Path) -> None:
    """Write pid and moment, whole or not at all, and sleep."""
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{os.getpid()} {time.monotonic()}", encoding="ascii")
    temporary.replace(path)
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
