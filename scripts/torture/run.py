"""Kills, waits for recovery and for trading, and kills again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from scripts.torture.audit import Findings, examine, is_settled, unprotected
from scripts.torture.ground import SYMBOLS, Ground
from scripts.torture.trap import Step
from scripts.torture.watch import BookWatch
from tests.daemon.harness import alive
from tests.deadline import wait_for

Mix = Mapping[str, float]
"""How often whom: engine, broker, feed, supervisor, all."""

BROAD: Mix = {"engine": 4, "broker": 4, "feed": 1, "supervisor": 2, "all": 2}
_TRAPPED = 0.7  # of the kills of those who keep a journal
_JOURNALS = ("engine", "broker", "supervisor")
_FILLS_BETWEEN = 3
_MOST_COMMITS = 6  # that a trapped process survives
_TRAP_S, _RECOVERY_S, _TRADING_S = 10.0, 90.0, 60.0


class RunFailedError(Exception):
    """The daemon did not come back, or did not trade."""


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes
    ----------
    step
        Where in a commit; None: at a random moment.
    recovered_s
        Seconds from the death until all workers were ready.
    wall_ms
        Unix time of the death, as the daemon has it.
    """

    victim: str
    step: Step | None
    recovered_s: float
    wall_ms: int


@dataclass
class Torture:
    """One run.

    Parameters
    ----------
    ground
        Whose daemon is not started yet.
    seed
        Of all choices.
    mix
        Whom to kill how often.
    say
        Told in words how it goes.
    """

    ground: Ground
    seed: int
    mix: Mix = field(default_factory=lambda: BROAD)
    say: Callable[[str], None] = print
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._daemon = self.ground.daemon
        self._books = BookWatch(self._daemon.state / "broker.sqlite")

    def run(self, kills: int, seconds: float = float("inf")) -> Findings:
        """Kill so often, or for so long; what an audit of the stopped daemon finds.

        Raises
        ------
        RunFailedError
            Between two kills.
        """
        try:
            self._run(kills, time.monotonic() + seconds)
        except AssertionError as error:
            raise RunFailedError(f"after {len(self.kills)} kills, the last of {self._last()}: {error}") from error
        return examine(self.ground)

    def _last(self) -> str:
        return f"{self.kills[-1].victim} ({self.kills[-1].step})" if self.kills else "nobody"

    def _run(self, kills: int, until: float) -> None:
        self.ground.start(ready=True)
        while len(self.kills) < kills and time.monotonic() < until:
            self._await_trading()
            self._kill()
            if len(self.kills) % 50 == 0:
                self.say(f"{len(self.kills)} kills, {self._books.fills()} fills")
        self._await_trading()
        self._end()

    def _await_trading(self) -> None:
        """Three fills, and an order that is under way."""
        self._daemon.post("/engines/reset")
        enough = self._books.fills() + _FILLS_BETWEEN
        wait_for(lambda: self._books.fills() >= enough, "three fills", seconds=_TRADING_S, every=0.02)
        wait_for(self._books.in_flight, "an order in flight", seconds=_TRADING_S)

    # ------------------------------------------------------------------ one kill

    def _kill(self) -> None:
        victim = self._random.choices(list(self.mix), list(self.mix.values()))[0]
        before = self._daemon.worker_pids()
        step = None
        if victim == "all":
            self._kill_all()
        else:
            pid = self._pid_of(victim, before)
            if victim in _JOURNALS and self._random.random() < _TRAPPED:
                step = self._random.choice(list(Step))
            if step is None or not self._trap(pid, step):
                step = None
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not self._lives(pid), "the victim to be gone")
        died, died_ms = time.monotonic(), self.ground.wall_ms()
        if victim in ("supervisor", "all"):
            self.ground.start(ready=False)
        replaced = before if victim in ("supervisor", "all") else {n: p for n, p in before.items() if not alive(p)}
        wait_for(lambda: self._is_ready(replaced), "all workers to be ready", seconds=_RECOVERY_S, every=0.02)
        self.kills.append(Kill(victim, step, time.monotonic() - died, died_ms))

    def _pid_of(self, victim: str, pids: Mapping[str, int]) -> int:
        if victim == "supervisor":
            assert self._daemon.process is not None
            return self._daemon.process.pid
        return pids[self._random.choice([name for name in pids if name.startswith(victim)])]

    def _trap(self, pid: int, step: Step) -> bool:
        """Whether it died of it; who does not write for long does not."""
        self.ground.trap.set(pid, step, self._random.randrange(_MOST_COMMITS))
        end = time.monotonic() + _TRAP_S
        while self._lives(pid) and time.monotonic() < end:
            time.sleep(0.002)
        return self.ground.trap.lift()

    def _lives(self, pid: int) -> bool:
        process = self._daemon.process
        if process is not None and process.pid == pid:
            return process.poll() is None
        return alive(pid)

    def _kill_all(self) -> None:
        processes = self._daemon.processes()
        self._random.shuffle(processes)
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it has died with the supervisor meanwhile
                process.kill()
        assert self._daemon.process is not None
        self._daemon.process.wait(10)

    def _is_ready(self, replaced: Mapping[str, int]) -> bool:
        status = self._daemon.status()
        workers = [*status["engines"], *status["workers"]]
        return all(entry["ready"] and entry["pid"] != replaced.get(entry["worker"]) for entry in workers)

    # ------------------------------------------------------------------ the end

    def _end(self) -> None:
        """Stop engines in the midst of trading, look at what protects their positions, sell out, stop."""
        for symbol in SYMBOLS:
            self._daemon.post(f"/engines/stop/{symbol}")
        wait_for(lambda: not self._books.in_flight(), "orders of stopped engines to end", seconds=_TRADING_S)
        wait_for(lambda: not unprotected(self.ground), "every position to be protected", seconds=_TRADING_S)
        for symbol in SYMBOLS:
            self._daemon.post(f"/engines/start/{symbol}")
        for symbol in SYMBOLS:
            self._daemon.post(f"/engines/pause/{symbol}")
        self._daemon.wait_ready(seconds=_RECOVERY_S)
        wait_for(self._is_sold, "everything to be sold", seconds=_TRADING_S, every=0.2)
        code = self._daemon.stop()
        assert code == 0, f"it stopped with code {code}"

    def _is_sold(self) -> bool:
        engines = self._daemon.status()["engines"]
        return all(e["ready"] and e["paused"] for e in engines) and is_settled(self.ground)
