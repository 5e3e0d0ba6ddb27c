"""What the workers with an asyncio loop share: fence, turns, commands, and a log that no flood fills."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import zmq

from levibot.bus.messages import Command, Report, Stop
from workers.runtime import Runtime

_FENCE_RETRY = 0.02
_IDLE = 0.25  # seconds between two turns without anything to do


class AsyncWorker(ABC):
    """A worker that takes its fence, serves in turns until `Stop`, and acknowledges when all is closed.

    Parameters
    ----------
    runtime
        The common part of a worker.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stop: Stop | None = None
        self._wake = asyncio.Event()
        self._refused = 0  # messages

    async def run(self) -> None:
        """Take the fence, then serve until `Stop`."""
        runtime = self._runtime
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        control_fd = int(runtime.control.getsockopt(zmq.FD))
        loop.add_reader(control_fd, self._wake.set)
        runtime.status.waiting_for = "fence"
        try:
            while self._stop is None and not runtime.fence.acquire():
                await self._turn(_FENCE_RETRY)
            if self._stop is None:
                await self._serve(loop)
        finally:
            loop.remove_reader(control_fd)
        if self._stop is not None:
            runtime.acknowledge(self._stop)

    # ------------------------------------------------------------------ what each kind does

    @abstractmethod
    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work, calling `_turn` in a loop, until a `Stop` has come; close everything."""

    @abstractmethod
    def _report(self) -> Report | None:
        """The worker's own part of a heartbeat."""

    def _on_command(self, command: Command) -> None:  # noqa: B027  # most kinds have nothing to do here
        """A command other than `Stop`; Pause and Resume are noted already."""

    def _on_turn(self) -> None:  # noqa: B027  # likewise
        """What is due in every turn, before the heartbeat."""

    # ------------------------------------------------------------------ what is shared

    async def _turn(self, seconds: float = _IDLE) -> None:
        """Take commands, beat, and sleep for `seconds` at most, or until there is something to do."""
        runtime = self._runtime
        runtime.status.turns += 1
        self._wake.clear()
        while commands := list(runtime.commands()):  # an acknowledgement may swallow the edge of the next
            for command in commands:
                if isinstance(command, Stop):
                    self._stop = command  # acknowledged after a clean end
                    return
                self._on_command(command)
                runtime.acknowledge(command)
        self._on_turn()
        runtime.beat(self._report)
        try:
            async with asyncio.timeout(min(seconds, runtime.seconds_to_beat())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _refuse(self, reason: str) -> None:
        """Count junk apart from errors: whoever sends it must not get this worker restarted."""
        self._refused += 1
        self._log_limited("message_refused", reason)

    def _log_limited(self, event: str, reason: str) -> None:
        self._runtime.warn_limited(event, reason=reason, refused_in_all=self._refused)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A message that could not be dealt with changed nothing; it is counted, and the next one read."""
        error = context.get("exception")
        if not isinstance(error, Exception):
            loop.default_exception_handler(context)
            return
        self._runtime.status.fail(f"{type(error).__name__}: {error}")
        self._runtime.log.error("error_survived", exc_info=error)
