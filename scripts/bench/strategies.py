"""Strategies that the benchmarks give to the engines they measure."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Sequence
from pathlib import Path

from levibot.bus.messages import Bar, Position, Tick
from levibot.clock import boot_ns
from levibot.strategies.base import Signal


class EveryTick:
    """Is asked at every tick and notes how long ago the tick was published; trades nothing.

    Parameters
    ----------
    directory
        Where each engine leaves the ages of its newest ticks, in microseconds, as JSON.
    keep
        How many it keeps; the file is written each time that many have come.
    """

    warm_up_bars = 0

    def __init__(self, directory: str, keep: int = 300) -> None:
        self._path = Path(directory) / f"{os.getpid()}.jsonl"
        self._ages_us = array("I", bytes(4 * keep))
        self._count = 0

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Learn nothing."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        """Have no opinion."""
        return None

    def on_tick(self, tick: Tick, position: Position) -> Signal | None:
        """Note the age of the tick."""
        self._ages_us[self._count] = min((boot_ns() - tick.received_ns) // 1000, 0xFFFFFFFF)
        self._count += 1
        if self._count == len(self._ages_us):
            self._count = 0
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(list(self._ages_us)) + "\n")
        return None


class BuyAndHold:
    """Wants to be long all the time, so that every engine has a position to keep."""

    warm_up_bars = 0

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Learn nothing."""

    def on_bar(self, bar: Bar, position: Position) -> Signal | None:
        """Be long."""
        return Signal("long")
