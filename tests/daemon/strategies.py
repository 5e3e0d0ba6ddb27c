"""Strategies that misbehave in the ways of the fault table, on demand: a file in the working folder is the switch.

Each takes `switch`, the path of a file; while it exists, the fault happens.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from levibot.bus.messages import Bar, Position, Tick
from levibot.strategies.base import Signal


class Quiet:
    """Does nothing, and does it on every tick."""

    def __init__(self, switch: str = "") -> None:
        self._switch = Path(switch)

    @property
    def warm_up_bars(self) -> int:
        return 1

    def warm_up(self, bars: Sequence[Bar]) -> None:
        pass

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        return None

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        if self._switch.name and self._switch.exists():
            return self.misbehave()
        return None

    def misbehave(self) -> Any:
        """The fault."""


class Long(Quiet):
    """Wants to be long for ever."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        return Signal("long")

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        return Signal("long")


class Restless(Quiet):
    """In and out at every bar."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        return Signal("flat" if position.quantity else "long")


class Hangs(Long):
    """Never returns, while the switch is there."""

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        while self._switch.exists():
            pass
        return Signal("long")


class HangsBesideAThread(Quiet):
    """The trading loop stands still while another thread of the process is busy."""

    def misbehave(self) -> None:
        threading.Thread(target=self._be_busy, daemon=True).start()
        while self._switch.exists():
            time.sleep(0.01)

    def _be_busy(self) -> None:
        while self._switch.exists():
            time.sleep(0.001)


class Raises(Quiet):
    """An exception on every tick."""

    def misbehave(self) -> None:
        raise ValueError('a "quoted" fault\nover two lines')


class Nonsense(Quiet):
    """Not a signal."""

    def misbehave(self) -> Any:
        return Signal("long", probability=float("nan"))


class DiesAtOnce(Quiet):
    """Ends the process while it starts."""

    def __init__(self, switch: str = "") -> None:
        super().__init__(switch)
        if self._switch.exists():
            os._exit(3)


class DiesWhenReady(Quiet):
    """Ends the process at the first tick."""

    def misbehave(self) -> None:
        os._exit(4)


class StartsSlowly(Quiet):
    """Takes its time in the constructor."""

    def __init__(self, switch: str = "") -> None:
        super().__init__(switch)
        while self._switch.exists():
            time.sleep(0.01)


class ForksATree(Quiet):
    """Children and grandchildren that ignore SIGTERM, in sessions of their own."""

    def __init__(self, switch: str = "") -> None:
        super().__init__(switch)
        code = (
            "import os, signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "os.fork()\nos.setsid() if os.getpid() != os.getpgrp() else None\n"
            "os.fork()\ntime.sleep(600)\n"
        )
        subprocess.Popen([sys.executable, "-c", code])


class Floods(Quiet):
    """Prints as fast as it can, for the time of a tick."""

    def misbehave(self) -> None:
        for _ in range(20_000):
            print("flood " * 10)


class LeaksDescriptors(Quiet):
    """Opens files and never closes them."""

    def misbehave(self) -> None:
        for _ in range(20):
            os.open(os.devnull, os.O_RDONLY)


class LeaksMemory(Quiet):
    """Keeps what it should drop."""

    def __init__(self, switch: str = "") -> None:
        super().__init__(switch)
        self._kept: list[bytes] = []

    def misbehave(self) -> None:
        self._kept.append(os.urandom(5_000_000))


class IgnoresSignals(Hangs):
    """Neither hears commands nor SIGTERM."""

    def __init__(self, switch: str = "") -> None:
        super().__init__(switch)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
