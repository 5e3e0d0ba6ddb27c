"""What a scrape of two hundred engines takes, and how long the supervisor's loop stands still for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from levibot.api.client import ApiClient
from scripts.bench.figures import LONG, Figure, percentile
from scripts.bench.live import open_daemon

ENGINES = 200
SCRAPES = 200 if LONG else 30
_PAUSE = 0.1  # between two scrapes


def rows() -> Iterator[Figure]:
    """Figures of one daemon."""
    with open_daemon(ENGINES, 1.0, feed={"history_bars": 100}) as daemon:
        daemon.start()
        daemon.wait_until_ready(120)
        daemon.client.get_bytes("/metrics")  # labels are written out at the first
        scrapes = [_scrape(daemon.client) for _ in range(SCRAPES)]
        quiet = _answers_beside(daemon.client, lambda: time.sleep(_PAUSE))
        beside = _answers_beside(daemon.client, lambda: _scrape(daemon.client))
    took = tuple(milliseconds for milliseconds, _ in scrapes)
    body = scrapes[-1][1]
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    peers = tuple(_peer(series) for _ in range(5))
    size = f"{series:,} series, {len(body) / 1e6:.2f} MB"
    limit = f"generate_latest of as many plain gauges {percentile(peers, 0.5):.0f} ms"
    yield Figure(f"scrape of {ENGINES} engines", took, "ms", 50, beside=f"{size}; {limit}")
    yield Figure(f"scrape of {ENGINES} engines: the slowest", (max(took),), "ms", 50, beside=f"of {len(took)}")
    yield Figure(
        "a small request during scrapes: the slowest",
        (max(beside),),
        "ms",
        beside=f"without scrapes {max(quiet):.1f} ms; p99 {percentile(beside, 0.99):.1f}, "
        f"without {percentile(quiet, 0.99):.1f}",
    )


def _scrape(client: ApiClient) -> tuple[float, bytes]:
    """Milliseconds that a scrape takes, and what it gives; then a pause, in which the engines trade on."""
    began = time.perf_counter()
    body = client.get_bytes("/metrics")
    took = 1000 * (time.perf_counter() - began)
    time.sleep(_PAUSE)
    return took, body


def _answers_beside(client: ApiClient, turn: Callable[[], object]) -> list[float]:
    """Milliseconds that a small request takes, asked all the while that `turn` is done again and again."""
    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            began = time.perf_counter()
            client.get_bytes("/live/status")
            took.append(1000 * (time.perf_counter() - began))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(SCRAPES):
            turn()
    finally:
        done.set()
        asker.join()
    return took


def _peer(series: int) -> float:
    """Milliseconds that prometheus_client itself takes for so many gauges, their values known already."""
    registry = CollectorRegistry()
    gauge = Gauge("peer", "A gauge.", ["worker", "symbol"], registry=registry)
    for number in range(series):
        gauge.labels(f"engine-S{number:05}-USDT", f"S{number:05}/USDT").set(number / 7)
    began = time.perf_counter()
    generate_latest(registry)
    return 1000 * (time.perf_counter() - began)
