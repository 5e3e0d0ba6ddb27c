"""Watching a running daemon for a long time, and killing its workers if that is wanted.

Everything is read from the status document; a worker's uptime is what the supervisor added up between its own
transitions, so a gap between two polls hides nothing.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

import psutil

from levibot.api.client import ApiClient, ApiError, NotRunningError
from levibot.errors import LeviBotError

Document = dict[str, Any]

POLL_SECONDS = 1.0
WARM_UP_SECONDS = 20.0  # of a process, during which its memory may still grow
LEAST_SPAN_SECONDS = 30.0  # of one process after its warm-up, for a slope that means anything
MOST_POINTS = 120  # of one process, from which pairs are made
LEAST_SILENT_SECONDS, MOST_SILENT_SECONDS = 10.0, 300.0  # between two lines of progress: a tenth of the run
AFTERMATH_SECONDS = 5.0  # after a kill: errors of whoever lost a peer are explained


@dataclass
class Track:
    """What was seen of one worker.

    Attributes
    ----------
    first, last
        Its entries of the status document.
    kills
        How often we killed it.
    errors, explained_errors
        Growth of its counter, and the part of it that came just after a kill of any worker.
    loads
        How often a pool process took another model.
    memory
        Unique memory (seconds, bytes) of each of its processes, and anew after each load: another model has
        another size, which is no leak. By incarnation and loads; times are those of the process.
    settling
        Incarnation that has taken another model, and its time from which on its memory is noted again.
    """

    first: Document
    last: Document
    kills: int = 0
    errors: int = 0
    explained_errors: int = 0
    loads: int = 0
    memory: dict[tuple[int, int], list[tuple[float, int]]] = field(default_factory=dict)
    settling: tuple[int, float] = (0, 0.0)

    @property
    def restarts(self) -> int:
        """Automatic restarts since the beginning."""
        return int(self.last["restarts"] - self.first["restarts"])

    @property
    def uptime(self) -> float:
        """Share of the time in which it was ready; 1 where nothing was counted."""
        ready = self.last["ready_seconds"] - self.first["ready_seconds"]
        down = self.last["down_seconds"] - self.first["down_seconds"]
        return float(ready / (ready + down)) if ready + down else 1.0

    @property
    def down_seconds(self) -> float:
        """Seconds in which it was wanted and not ready."""
        return float(self.last["down_seconds"] - self.first["down_seconds"])

    @property
    def watched_seconds(self) -> float:
        """Seconds in which it was wanted."""
        return float(self.last["ready_seconds"] - self.first["ready_seconds"]) + self.down_seconds

    @property
    def load_steps(self) -> list[int]:
        """Bytes by which the memory of a process was another after each load; not counted as growth."""
        pairs = pairwise(sorted(self.memory.items()))
        return [new[0][1] - old[-1][1] for (before, old), (after, new) in pairs if before[0] == after[0]]

    @property
    def growth(self) -> tuple[float, float] | None:
        """Slope of its unique memory in bytes a minute, and the most that one process grew; None if too short."""
        settled = [[point for point in points if point[0] >= WARM_UP_SECONDS] for points in self.memory.values()]
        long = [points for points in settled if points and points[-1][0] - points[0][0] >= LEAST_SPAN_SECONDS]
        if not long:
            return None
        return robust_slope(long) * 60, float(max(points[-1][1] - points[0][1] for points in long))


class Watch:
    """Follows all workers of one daemon.

    Parameters
    ----------
    api
        Client of the daemon.
    kill_every
        Seconds between two kills of a worker by SIGKILL; None: none.
    seed
        Of the order in which workers are killed.
    """

    def __init__(self, api: ApiClient, kill_every: float | None = None, seed: int = 1) -> None:
        self.tracks: dict[str, Track] = {}
        self.problems: list[str] = []  # the daemon itself was gone, or changed
        self.killed: list[str] = []
        self._api = api
        self._kill_every = kill_every
        self._victims = _shuffled_for_ever(random.Random(seed))
        self._last_kill = float("-inf")
        self._daemon_pid: int | None = None

    @property
    def engines(self) -> dict[str, Track]:
        """The tracks of engines alone."""
        return {name: track for name, track in self.tracks.items() if track.first["kind"] == "engine"}

    def run(self, seconds: float, tell: Callable[[str], None] = lambda _text: None) -> None:
        """Poll for that long."""
        begun = time.monotonic()
        next_kill = begun + self._kill_every if self._kill_every is not None else float("inf")
        tell_every = min(MOST_SILENT_SECONDS, max(LEAST_SILENT_SECONDS, seconds / 10))
        next_word = begun + tell_every
        while (now := time.monotonic()) - begun < seconds:
            status = self._ask()
            if status is not None:
                if not self.tracks:
                    tell(f"watching process {self._daemon_pid} for {seconds:g} s")
                self._take(status, now)
                if now >= next_word:
                    next_word += tell_every
                    tell(f"{now - begun:6.1f} s: {self._progress()}")
                # The last one leaves time to come back, or its end would count and its return would not.
                if now >= next_kill and seconds - (now - begun) > AFTERMATH_SECONDS:
                    next_kill += self._kill_every or 0.0
                    tell(f"{now - begun:6.1f} s: killed {self._kill(status)}")
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - now)))
        if (status := self._ask()) is not None:
            self._take(status, time.monotonic())

    def _progress(self) -> str:
        tracks = self.tracks.values()
        ready, errors = sum(track.last["ready"] for track in tracks), sum(track.errors for track in tracks)
        restarts = sum(track.restarts for track in tracks)
        words = f"{ready} of {len(tracks)} workers ready, {restarts} restarts"
        return f"{words}, {len(self.killed)} kills, {errors} errors"

    def _ask(self) -> Document | None:
        try:
            status: Document = self._api.get("/engines/status")
        except (NotRunningError, ApiError) as error:
            self._problem(f"the daemon did not answer: {error}".partition("\n")[0])
            return None
        pid = status["daemon"]["pid"]
        if self._daemon_pid not in (None, pid):
            self._problem(f"the daemon was replaced: process {pid} instead of {self._daemon_pid}")
        self._daemon_pid = pid
        return status

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _take(self, status: Document, now: float) -> None:
        for entry in [*status["engines"], *status["workers"]]:
            track = self.tracks.setdefault(entry["worker"], Track(entry, entry))
            errors = max(0, entry["error_count"] - track.last["error_count"])
            track.errors += errors
            if now - self._last_kill <= AFTERMATH_SECONDS:
                track.explained_errors += errors
            _note_load(track, entry)
            track.last = entry
            _note_memory(track, entry)

    def _kill(self, status: Document) -> str:
        """Kill a worker that is ready, and give all budgets back, so that no kill counts against the next."""
        ready = {
            e["worker"]: e["pid"] for e in [*status["engines"], *status["workers"]] if e["ready"] and e["pid"]
        }
        if not ready:
            return "nobody, for nobody was ready"
        name = self._victims(sorted(ready))
        process = psutil.Process(ready[name])
        if not process.name().startswith("levi-"):
            raise LeviBotError(f"process {process.pid} is no worker of LeviBot; nothing was killed")
        self._last_kill = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        self.tracks[name].kills += 1
        self.killed.append(name)
        self._api.post("/engines/reset")
        return name


def robust_slope(series: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Median of the slopes between all pairs of points of the same series, in units a second (Theil, Sen).

    Pairs that lie closer than a third of their series' span say more about noise than about a trend.
    """
    slopes = []
    for points in series:
        thinned = points[:: max(1, len(points) // MOST_POINTS)]
        least = (points[-1][0] - points[0][0]) / 3
        slopes += [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(thinned, 2) if b[0] - a[0] > least]
    return statistics.median(slopes) if slopes else 0.0


def _note_load(track: Track, entry: Document) -> None:
    if entry["kind"] != "inference" or entry["incarnation"] != track.last["incarnation"]:
        return
    if entry["model"] and entry["model"] != track.last["model"]:
        track.loads += 1
        track.settling = (entry["incarnation"], entry["uptime_seconds"] + WARM_UP_SECONDS)


def _note_memory(track: Track, entry: Document) -> None:
    if entry["uss_bytes"] is None or not entry["pid"]:
        return
    incarnation, until = track.settling
    if entry["incarnation"] == incarnation and entry["uptime_seconds"] < until:
        return
    points = track.memory.setdefault((entry["incarnation"], track.loads), [])
    if not points or points[-1][1] != entry["uss_bytes"]:  # else it may be the same reading
        points.append((entry["uptime_seconds"], entry["uss_bytes"]))
    elif len(points) > 1 and points[-2][1] == entry["uss_bytes"]:
        points[-1] = (entry["uptime_seconds"], entry["uss_bytes"])  # a plateau is known by its two ends
    else:
        points.append((entry["uptime_seconds"], entry["uss_bytes"]))


def _shuffled_for_ever(chance: random.Random) -> Callable[[Sequence[str]], str]:
    """Chooses in random order, each once before any twice: so no worker gets all the bad luck of a short run."""
    left: list[str] = []

    def choose(names: Sequence[str]) -> str:
        there = [name for name in left if name in names]
        left[:] = there or chance.sample(list(names), len(names))
        return left.pop()

    return choose
