"""`levibotctl config check` in a process of its own: strategies are the user's code, which never runs in here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from levibot.errors import ConfigError
from levibot.supervisor.process import ForkserverLauncher

_TIME_LIMIT = 20.0  # less than a client waits for its answer
_GOOD = re.compile(r"^ok: ", re.MULTILINE)
_ERROR = re.compile(r"^Error: (.*)\Z", re.MULTILINE | re.DOTALL)


async def check_file(path: Path | None, launcher: ForkserverLauncher, time_limit: float = _TIME_LIMIT) -> None:
    """Judge the configuration file as it is now, its strategies included.

    Parameters
    ----------
    path
        The file, or None for the embedded defaults.
    launcher
        Starts the process, so that it is not taken for an orphan.
    time_limit
        Seconds that importing the strategies may take.

    Raises
    ------
    ConfigError
        With the text that `levibotctl config check` prints.
    """
    where = [] if path is None else ["-c", str(path)]
    process = await launcher.start_companion([sys.executable, "-m", "levibot.cli", *where, "config", "check"])
    try:
        said = await asyncio.to_thread(process.communicate, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"importing the strategies takes longer than {time_limit:g} s; "
            "do there nothing that takes long: `levibotctl config check` shows it"
        ) from error
    finally:
        _end(process)
        launcher.forget_companion(process.pid)
    if process.returncode != 0 or not _GOOD.search(said[0]):
        raise ConfigError(_reason(said[0], process.returncode))


def _reason(said: str, code: int) -> str:
    error = _ERROR.search(said)
    if error is not None:
        return error[1].strip()
    return f"`levibotctl config check` ended with exit code {code}; run it: a strategy's import may have ended it"


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it with what it has started, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
