"""The metrics of alternative data, by source; absent without the process for it.

Counters go on over its restarts. What describes the moment is absent while it does not run.
"""

from __future__ import annotations

from collections.abc import Callable

from levibot.bus.messages import AltDataReport, AltSourceHealth
from levibot.clock import wall_ms
from levibot.observability.metrics import Family, Reading
from levibot.supervisor.daemon_metrics import DaemonView


def _count(read: Callable[[AltSourceHealth], int]) -> Callable[[DaemonView], Reading]:
    def counts(view: DaemonView) -> Reading:
        report = view.report("altdata")
        if not isinstance(report, AltDataReport):
            return None
        return {name: read(source) for name, source in report.sources.items()}

    return counts


def _now(read: Callable[[AltSourceHealth], float | None]) -> Callable[[DaemonView], Reading]:
    def gauges(view: DaemonView) -> Reading:
        if view.altdata is None:
            return None
        found = {name: read(source) for name, source in view.altdata.sources.items()}
        return {name: value for name, value in found.items() if value is not None}

    return gauges


def _failures(view: DaemonView) -> Reading:
    report = view.report("altdata")
    if not isinstance(report, AltDataReport):
        return None
    counts: dict[tuple[str, ...], float] = {
        (name, kind): count for name, source in report.sources.items() for kind, count in source.failures.items()
    }
    return counts


def _age(source: AltSourceHealth) -> float | None:
    return None if source.fetched_ms is None else max(0.0, (wall_ms() - source.fetched_ms) / 1000)


ALTDATA_FAMILIES: tuple[Family[DaemonView], ...] = (
    Family(
        "levi_altdata_age_seconds",
        "gauge",
        "Since a source of alternative data answered in full; absent before its first answer.",
        _now(_age),
        ("source",),
    ),
    Family(
        "levi_altdata_values",
        "gauge",
        "Values of a source that are not too old to be used.",
        _now(lambda source: source.values),
        ("source",),
    ),
    Family(
        "levi_altdata_source_up",
        "gauge",
        "1 if the newest fetch from a source was whole.",
        _now(lambda source: int(source.ok)),
        ("source",),
    ),
    Family(
        "levi_altdata_fetches_total",
        "counter",
        "Fetches from a source that were whole.",
        _count(lambda source: source.fetches),
        ("source",),
    ),
    Family(
        "levi_altdata_failures_total",
        "counter",
        "Fetches from a source that failed, in part or whole, by the kind of failure.",
        _failures,
        ("source", "kind"),
    ),
    Family(
        "levi_altdata_requests_total",
        "counter",
        "Requests to a source.",
        _count(lambda source: source.requests),
        ("source",),
    ),
    Family(
        "levi_altdata_throttled_total",
        "counter",
        "Times that a rate limit, the provider's or our own, held a source up.",
        _count(lambda source: source.throttled),
        ("source",),
    ),
)
