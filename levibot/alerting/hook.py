"""A command of the operator's that gets each notice as JSON on its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_SAID = 200  # bytes of its output that are kept for the log
_FAREWELL = 1.0


class Hook:
    """Runs the command, without a shell, in a process group of its own.

    Parameters
    ----------
    command
        Program and arguments.
    """

    label = "hook"

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def run(self, document: Mapping[str, Any], timeout: float) -> str:
        """Run it with a document; why it failed, or an empty text.

        Whatever it has started and left behind is killed with it.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be run ({error.strerror})"
        try:
            async with asyncio.timeout(timeout):
                said = await _converse(process, orjson.dumps(document))
                code = await process.wait()
        except TimeoutError:
            return f"killed, as it took longer than {timeout:g} s"
        finally:
            await _end(process)
        if not code:
            return ""
        ended = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{ended}: {said}" if said else ended


async def _converse(process: asyncio.subprocess.Process, document: bytes) -> str:
    """Give it the document, read its output to the end; the first of it, printable."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):  # it need not read what it is given
        process.stdin.write(document)
        await process.stdin.drain()
    process.stdin.close()
    first = b""
    while chunk := await process.stdout.read(4096):
        first = (first + chunk)[:_SAID]
    return "".join(c if c.isprintable() else " " for c in first.decode(errors="replace")).strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _FAREWELL)
