"""Strategies that the benchmarks give to the engines they measure."""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import msgspec

from levibot.bus.messages import Bar, Position, Prediction, Tick
from levibot.clock import boot_ns
from levibot.market.bars import MINUTE_MS
from levibot.strategies.base import Question, Signal
from levibot.strategies.ensemble import Ensemble


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


class InAndOut(Ensemble):
    """The ensemble, long after every even minute and flat after every odd one, and when it was asked and answered.

    The question, the pool's answer and the judgement are real; only the probability in the answer is
    replaced, so that all engines trade at the same bar.

    Parameters
    ----------
    directory
        Where each engine leaves its times, a JSON object for each entry: Unix seconds.
    """

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._path = Path(directory) / f"{os.getpid()}.jsonl"
        self._published_ns = self._asked_ns = self._cpu_ns = 0
        self._noted = ""

    def on_bar(self, bar: Bar, position: Position) -> Signal | Question | None:
        """Ask, and note when."""
        self._published_ns, self._asked_ns, self._cpu_ns = bar.received_ns, boot_ns(), time.thread_time_ns()
        return super().on_bar(bar, position)

    def on_predictions(self, predictions: tuple[Prediction, ...], position: Position) -> Signal | None:
        """Go in, or out."""
        if not predictions or predictions[0].bar_ms // MINUTE_MS % 2:
            self._write()
            return Signal("flat")
        sure = tuple(msgspec.structs.replace(said, probability=0.95) for said in predictions)
        answered_ns = boot_ns()
        signal = super().on_predictions(sure, position)
        times = {
            "published": self._published_ns,
            "asked": self._asked_ns,
            "answered": answered_ns,
            "judged": boot_ns(),
        }
        seconds = {name: wall_seconds(ns) for name, ns in times.items()}
        seconds["cpu"] = (time.thread_time_ns() - self._cpu_ns) / 1e9
        self._noted = json.dumps({**seconds, "kinds": len(predictions)}) + "\n"
        return signal

    def _write(self) -> None:
        """Store what was noted: at the bars that nothing is measured at."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(self._noted)
        self._noted = ""


def wall_seconds(then_ns: int) -> float:
    """Unix time of a moment of CLOCK_BOOTTIME that has just been, as log files have it."""
    return time.time() - (boot_ns() - then_ns) / 1e9
