"""The metrics of the supervisor itself: its errors, its disk and loop, its HTTP interface, and what it is."""

from __future__ import annotations

import platform
from typing import get_args

from levibot import __version__
from levibot.api.traffic import DropReason
from levibot.observability.metrics import Buckets, Family, Reading
from levibot.supervisor.daemon_metrics import DaemonView
from levibot.supervisor.loop_lag import LAG_BOUNDS
from levibot.supervisor.machine import free_bytes


def _survived(view: DaemonView) -> Reading:
    return view.daemon.errors.counts


def _disk_free(view: DaemonView) -> Reading:
    return free_bytes(view.daemon.config.supervisor.data_dir)


def _lag(view: DaemonView) -> Reading:
    histogram = view.daemon.lag.histogram
    return Buckets(histogram.cumulative(), histogram.seconds)


def _http_requests(view: DaemonView) -> Reading:
    requests: dict[tuple[str, ...], float] = {
        (route, str(code)): count for (route, code), count in view.daemon.api.traffic.requests.items()
    }
    return requests


def _http_dropped(view: DaemonView) -> Reading:
    dropped = view.daemon.api.traffic.dropped
    return {reason: dropped[reason] for reason in get_args(DropReason)}


def _http_refused_tokens(view: DaemonView) -> Reading:
    return view.daemon.api.traffic.refused_tokens


def _http_connections(view: DaemonView) -> Reading:
    return view.daemon.api.traffic.connections


def _http_streams(view: DaemonView) -> Reading:
    return view.daemon.api.traffic.streams


def _build(view: DaemonView) -> Reading:
    config = view.daemon.config
    build: dict[tuple[str, ...], float] = {
        (__version__, platform.python_version(), config.mode, config.exchange_id): 1
    }
    return build


SUPERVISOR_FAMILIES: tuple[Family[DaemonView], ...] = (
    Family(
        "levi_supervisor_errors_total",
        "counter",
        "Errors that the supervisor survived, by place.",
        _survived,
        ("where",),
    ),
    Family(
        "levi_supervisor_refused_writes_total",
        "counter",
        "Writes that the disk refused the supervisor.",
        lambda view: view.daemon.refused_writes,
    ),
    Family("levi_disk_free_bytes", "gauge", "Free space below data_dir; absent if it cannot be read.", _disk_free),
    Family(
        "levi_supervisor_loop_lag_seconds",
        "histogram",
        "How late the supervisor's loop came to what was due, looked at ten times a second.",
        _lag,
        bounds=LAG_BOUNDS,
    ),
    Family(
        "levi_http_requests_total",
        "counter",
        "Requests by route and status code; all paths that do not exist are one route.",
        _http_requests,
        ("route", "code"),
    ),
    Family(
        "levi_http_dropped_connections_total",
        "counter",
        "Connections that were ended because of what their client did or failed to do.",
        _http_dropped,
        ("reason",),
    ),
    Family("levi_http_refused_tokens_total", "counter", "Requests with a wrong token.", _http_refused_tokens),
    Family("levi_http_connections", "gauge", "Open connections.", _http_connections),
    Family("levi_http_streams", "gauge", "Open streams of events.", _http_streams),
    Family(
        "levi_build_info",
        "gauge",
        "1, with what this is.",
        _build,
        ("version", "python", "mode", "exchange"),
    ),
)
