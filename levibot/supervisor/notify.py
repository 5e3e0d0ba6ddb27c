"""What systemd is told (sd_notify): one datagram to the socket that it names, and nothing without one."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from levibot.clock import boot_seconds

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_STATUS_INTERVAL = 1.0  # seconds between two looks whether the status text has changed


def take_variables(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Remove what systemd set for this process alone; no child may speak for it.

    Returns
    -------
    dict
        The variables with their values, for `ServiceManager` and for an exec.
    """
    return {name: environ.pop(name) for name in _VARIABLES if name in environ}


class ServiceManager:
    """systemd, as the supervisor sees it.

    Parameters
    ----------
    variables
        As of `take_variables`. Without NOTIFY_SOCKET nothing is ever sent.
    survived
        Called with each error of a send: a service manager that does not listen stops nothing.

    Attributes
    ----------
    watchdog_seconds
        How long it waits for a sign of life; None if it does not watch.

    Notes
    -----
    Protocol: sd_notify(3) and sd_watchdog_enabled(3).
    """

    def __init__(self, variables: Mapping[str, str], survived: Callable[[Exception], None]) -> None:
        self.watchdog_seconds = _watchdog_seconds(variables)
        self._address = _address(variables.get("NOTIFY_SOCKET", ""))
        self._survived = survived
        self._ready = False

    def ready(self) -> None:
        """The API answers, and the workers are being launched: what depends on the service may start."""
        self._ready = True
        self._send("READY=1")

    def ending(self, seconds: float, *, again: bool) -> None:
        """The stop has begun.

        Parameters
        ----------
        seconds
            How long it may take.
        again
            The same process will run the daemon again, on other code, and be ready again then.
        """
        if again:
            self._send("STATUS=restarting on the code that is installed now", *_reloading())
        else:
            self._send("STOPPING=1", "STATUS=stopping", f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}")

    @contextmanager
    def slow(self, what: str, seconds: float) -> Iterator[None]:
        """While something holds up the start, and no loop runs that could give signs of life.

        Parameters
        ----------
        what
            One line for `systemctl status`.
        seconds
            How long it may take.
        """
        usec = f"{seconds * 1e6:.0f}"
        watchdog = [] if self.watchdog_seconds is None else [f"WATCHDOG_USEC={usec}"]
        self._send(f"STATUS={what}", f"EXTEND_TIMEOUT_USEC={usec}", *watchdog)
        try:
            yield
        finally:
            if self.watchdog_seconds is not None:
                self._send(f"WATCHDOG_USEC={self.watchdog_seconds * 1e6:.0f}", "WATCHDOG=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the configuration is read again; ready again after it, whatever came of it."""
        self._send(*_reloading())
        try:
            yield
        finally:
            if self._ready:
                self._send("READY=1")

    async def report(self, alive: Callable[[], bool], status: Callable[[], str]) -> None:
        """Give signs of life at half of the time that systemd waits, and the status when it changes, for ever.

        This runs in the supervisor's own loop: one that hangs gives no sign.

        Parameters
        ----------
        alive
            Whether the supervisor does its work; without it there is no sign either.
        status
            One line for `systemctl status`; asked for once it is ready.
        """
        if self._address is None:
            return
        half = self.watchdog_seconds / 2 if self.watchdog_seconds is not None else None
        shown, told = "", 0.0
        while True:
            now = boot_seconds()
            if half is not None and now - told >= half and alive():
                told = now
                self._send("WATCHDOG=1")
            if self._ready and (text := status()) != shown:
                shown = text
                self._send(f"STATUS={text}")
            due = told + half - now if half is not None else _STATUS_INTERVAL
            await asyncio.sleep(min(_STATUS_INTERVAL, max(due, _STATUS_INTERVAL / 20)))

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a busy systemd must not hold up the loop
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._survived(error)


def _address(name: str) -> str | None:
    """Address of a path, or of an abstract name (written with @); None of anything else."""
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def _watchdog_seconds(variables: Mapping[str, str]) -> float | None:
    usec, pid = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1e6


def _reloading() -> tuple[str, str]:
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
