"""Judging a worker: what psutil says it is, and what its heartbeat says it does, taken together. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from levibot.config import PolicyConfig
from levibot.supervisor.process import Sample

CAUSES = ("crash", "start", "hang", "memory", "descriptors", "errors")  # under which restarts are counted


@dataclass(frozen=True)
class Verdict:
    """A worker must be replaced."""

    cause: str  # one of `CAUSES`
    reason: str
    graceful: bool  # it still listens: ask it to stop before it is killed


def describe_exit(verdict: Verdict | None, code: int | None, last_error: str) -> str:
    """How a worker ended, in words; a code below zero is a signal.

    Errors by which it was replaced are told with its own words for the last of them.
    """
    if verdict is not None and verdict.cause == "errors" and last_error:
        return f"{last_error} ({verdict.reason})"
    if verdict is not None:
        return f"{verdict.cause}: {verdict.reason}"
    if code is None:
        return "died, exit code unknown"
    return f"killed by signal {-code}" if code < 0 else f"exited with code {code}"


@dataclass(frozen=True)
class Vitals:
    """What is known of a live worker. Times are seconds of CLOCK_BOOTTIME, stamped by the supervisor."""

    started: bool  # its Hello has come
    since: float  # when it was started, or its Hello came
    progress: float | None  # when a heartbeat last showed another turn of the loop
    unheard: float  # for how long its market's data have flowed here while it, being ready, heard none of them
    errors: int  # in the error window
    sample: Sample | None


def judge(vitals: Vitals, policy: PolicyConfig, now: float) -> Verdict | None:
    """Whether a worker must be replaced, and why.

    Parameters
    ----------
    vitals
        What is known of it.
    policy
        Limits of its kind.
    now
        Seconds of CLOCK_BOOTTIME.
    """
    if not vitals.started:
        if now - vitals.since > policy.start_timeout:
            return Verdict("start", f"not started within {policy.start_timeout:g} s", graceful=False)
        return None
    idle = now - (vitals.since if vitals.progress is None else vitals.progress)
    if idle > policy.hang_after:
        status = f", process is {vitals.sample.status}" if vitals.sample else ""
        return Verdict("hang", f"no progress for {idle:.1f} s{status}", graceful=False)
    if vitals.unheard > 2 * policy.hang_after:
        return Verdict("hang", "no market data, although the feed publishes it", graceful=False)
    if vitals.errors > policy.error_spike:
        return Verdict("errors", f"{vitals.errors} errors in {policy.error_window:g} s", graceful=True)
    return _judge_size(vitals.sample, policy)


def _judge_size(sample: Sample | None, policy: PolicyConfig) -> Verdict | None:
    if sample is None:
        return None
    if sample.uss_bytes is not None and sample.uss_bytes > policy.max_memory_mb * 1e6:
        used = sample.uss_bytes / 1e6
        return Verdict("memory", f"{used:.0f} MB, the limit is {policy.max_memory_mb:g} MB", graceful=True)
    if sample.descriptors > policy.max_descriptors:
        text = f"{sample.descriptors} open descriptors, the limit is {policy.max_descriptors}"
        return Verdict("descriptors", text, graceful=True)
    return None


class ErrorWindow:
    """Errors of a worker over a sliding window, from the counter in its heartbeats.

    Parameters
    ----------
    seconds
        Length of the window.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._steps: deque[tuple[float, int]] = deque()
        self._counter = 0

    def update(self, counter: int, now: float) -> None:
        """Take the newest value of the counter."""
        if counter > self._counter:
            self._steps.append((now, counter - self._counter))
        self._counter = counter

    def forgive(self) -> None:
        """Count from now on: the operator has seen what was."""
        self._steps.clear()

    def restart(self) -> None:
        """The worker is a new process: its counter begins at zero."""
        self._steps.clear()
        self._counter = 0

    def count(self, now: float) -> int:
        """Errors in the window before `now`."""
        while self._steps and self._steps[0][0] <= now - self._seconds:
            self._steps.popleft()
        return sum(step for _, step in self._steps)


class Hearing:
    """Compares the data of a market that the supervisor receives with what a worker says it received.

    A worker is judged by data alone that came while it was ready: a market that was silent before, however
    long, is nobody's fault.
    """

    def __init__(self) -> None:
        self._flows_since: float | None = None  # the supervisor has data, the worker none of them
        self._there: float | None = None

    def unheard(self, heard: float | None, there: float | None, policy: PolicyConfig) -> float:
        """For how long data have flowed that the worker has none of, in seconds.

        Parameters
        ----------
        heard
            When it last received market data, by its newest heartbeat; None: never.
        there
            When the supervisor last received the same market's; None: never, or the worker is not ready.
        policy
            Of its kind: a heartbeat tells what was heard an interval ago, and what pauses for as long as makes a
            hang has to flow anew.
        """
        before, self._there = self._there, there
        if there is None or (heard is not None and heard >= there - policy.heartbeat_interval):
            self._flows_since = None
        elif (
            self._flows_since is None
            or (heard is not None and heard >= self._flows_since - policy.heartbeat_interval)
            or (before is not None and there - before > policy.hang_after)
        ):
            self._flows_since = there
        return 0.0 if there is None or self._flows_since is None else there - self._flows_since


class StallGuard:
    """Notices that the supervisor itself stood still, and asks for patience with everyone else.

    Parameters
    ----------
    patience
        Seconds between two calls above which it was a stall; also how long nobody is judged after one.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._last: float | None = None
        self._until = 0.0

    def may_judge(self, now: float) -> bool:
        """Call once a turn; False while heartbeats that waited in the socket are still to be counted."""
        if self._last is not None and now - self._last > self._patience:
            self._until = now + self._patience
        self._last = now
        return now >= self._until
