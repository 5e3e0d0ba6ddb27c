"""Counters of a worker over all its processes: each process counts from zero, a counter must never fall."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from levibot.bus.messages import (
    AltDataReport,
    AltSourceHealth,
    BrokerReport,
    EngineReport,
    FeedReport,
    Heartbeat,
    InferenceReport,
    LiveReport,
    MarketHealth,
    NotifierReport,
    RecorderReport,
    Report,
)

S = TypeVar("S", bound=msgspec.Struct)

# Fields that begin at zero in each process. All others are the newest word: states, and durable counts.
_COUNTERS: dict[type[msgspec.Struct], tuple[str, ...]] = {
    Heartbeat: ("turns", "errors", "dropped"),
    EngineReport: (
        "signals",
        "ticks",
        "conflated",
        "refused_messages",
        "predictions",
        "missed",
        "inference_buckets",
        "inference_seconds",
        "order_buckets",
        "order_seconds",
        "trades",
        "books",
        "corrections",
        "refused_writes",
    ),
    FeedReport: ("published", "refused_messages", "live", "recorder"),
    LiveReport: ("markets", "dials", "reconnects", "probes", "frames", "parse_buckets", "parse_seconds"),
    MarketHealth: (
        "trades",
        "books",
        "duplicates",
        "stales",
        "gaps",
        "corrections",
        "backfilled",
        "synthetic",
        "renewals",
        "malformed",
    ),
    RecorderReport: ("messages", "bytes", "dropped"),
    BrokerReport: ("refused_messages", "refused_writes"),
    InferenceReport: ("answered", "refused", "expired", "batches", "swaps", "refused_messages"),
    NotifierReport: ("sent", "failed"),
    AltDataReport: ("sources", "refused_messages"),
    AltSourceHealth: ("fetches", "failures", "requests", "throttled"),
}


class Totals:
    """What the heartbeats of one worker add up to, since the supervisor started."""

    def __init__(self) -> None:
        self.processes = 0  # that were heard of
        self.heard_ms: int | None = None  # Unix time of the newest heartbeat, of whatever process
        self.heard_at: float | None = None  # the same in seconds of CLOCK_BOOTTIME
        self._past: Heartbeat | None = None  # sums of the processes before
        self._newest: Heartbeat | None = None

    def take(self, heartbeat: Heartbeat, now: float, now_ms: int) -> None:
        """Take a heartbeat of the present process, which came now."""
        newest = self._newest
        if newest is None or heartbeat.incarnation != newest.incarnation:
            self.processes += 1
            self._past = self.heartbeat
        self._newest, self.heard_at, self.heard_ms = heartbeat, now, now_ms

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The newest heartbeat, with the counters of all processes before added; None before the first.

        What a process counted between its last heartbeat and its death is lost.
        """
        if self._newest is None or self._past is None:
            return self._newest
        report = _add_reports(self._past.report, self._newest.report)
        return msgspec.structs.replace(_add(self._past, self._newest), report=report)


def _add_reports(past: Report | None, now: Report | None) -> Report | None:
    if past is None or now is None:
        return now or past
    return _add(past, now) if type(past) is type(now) else now


def _add(past: S, now: S) -> S:
    names = _COUNTERS[type(now)]
    return msgspec.structs.replace(now, **{name: _sum(getattr(past, name), getattr(now, name)) for name in names})


def _sum(past: object, now: object) -> object:
    match past, now:
        case (None, _) | (_, None):  # a process that has just begun, or counted for the first time
            return past if now is None else now
        case msgspec.Struct(), msgspec.Struct():
            return _add(past, now)
        case dict(), dict():
            return {key: _sum(past.get(key), now.get(key)) for key in {**past, **now}}
        case list(), list():
            if not past or not now:
                return now or past
            return [before + after for before, after in zip(past, now, strict=True)]
        case ((int() | float()), (int() | float())):
            return past + now
    raise AssertionError(f"{past!r} and {now!r} do not add up")
