"""Throughput and latency of the bus, beside one bare hop of pyzmq."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from levibot.bus.codec import TICK, frame
from levibot.bus.sockets import ipc, make_socket
from levibot.clock import boot_ns
from scripts.bench.bus_peers import PROBE, make_tick
from scripts.bench.children import Child, children
from scripts.bench.figures import RUNS, Figure, percentile

PEERS = "scripts.bench.bus_peers"
SYMBOLS = [f"S{number:02}/USDT" for number in range(15)]
BURST = 150_000
RATES = (50_000, 60_000, 70_000, 80_000, 100_000, 120_000, 140_000, 160_000, 200_000)
LARGEST_LAG_MS = 50.0  # more means that frames pile up, and would be lost later
QUIET_RATE, QUIET_SECONDS = 450, 5


@dataclass(frozen=True)
class Delivery:
    """What became of one series of frames."""

    published_per_second: float
    delivered_per_second: float  # first published → last received
    lag_ms: float  # last published → last received
    lost: int
    latencies_us: list[int]

    def kept_up(self, rate: int) -> bool:
        """Whether all of it arrived, at that rate and in time."""
        in_time = self.lag_ms <= LARGEST_LAG_MS and self.published_per_second >= 0.95 * rate
        return in_time and self.lost == 0


class Bus:
    """Forwarder, publisher and one subscriber for each symbol, each a process."""

    def __init__(self, directory: Path, started: list[Child]) -> None:
        publishers, subscribers = ipc(directory / "publishers"), ipc(directory / "subscribers")
        forwarder = Child(PEERS, "forward", publishers, subscribers)
        started.append(forwarder)
        forwarder.hear()
        self._subscribers = [Child(PEERS, "subscribe", subscribers, symbol) for symbol in SYMBOLS]
        started.extend(self._subscribers)
        for subscriber in self._subscribers:
            subscriber.hear()
        self._publisher = Child(PEERS, "publish", publishers, *SYMBOLS)
        started.append(self._publisher)
        self._epoch = PROBE
        while not all(counts["received"] for counts in self._counts(latencies=False)):
            self._publish(count=len(SYMBOLS), rate=0)
            time.sleep(0.05)

    def deliver(self, count: int, rate: int) -> Delivery:
        """Publish `count` frames at `rate` a second, 0 for as fast as possible."""
        self._epoch += 1
        published = self._publish(count, rate)
        received = self._settled(count)
        last_ns = max(counts["last_ns"] for counts in received)
        started_ns, ended_ns = published["started_ns"], published["ended_ns"]
        return Delivery(
            published_per_second=count * 1e9 / (ended_ns - started_ns),
            delivered_per_second=count * 1e9 / (last_ns - started_ns),
            lag_ms=(last_ns - ended_ns) / 1e6,
            lost=count - sum(counts["received"] for counts in received),
            latencies_us=[latency for counts in received for latency in counts["latencies_us"]],
        )

    def _publish(self, count: int, rate: int) -> dict[str, Any]:
        return self._publisher.ask({"count": count, "rate": rate, "epoch": self._epoch})

    def _counts(self, *, latencies: bool) -> list[dict[str, Any]]:
        for subscriber in self._subscribers:
            subscriber.tell({"latencies": latencies})
        return [subscriber.hear() for subscriber in self._subscribers]

    def _settled(self, count: int) -> list[dict[str, Any]]:
        """Counts once all frames came, or once nothing came any more for a second."""
        total, changed = -1, time.monotonic()
        while True:
            counts = self._counts(latencies=False)
            now = sum(entry["received"] for entry in counts if entry["epoch"] == self._epoch)
            if now != total:
                total, changed = now, time.monotonic()
            if total == count or time.monotonic() - changed > 1.0:
                return self._counts(latencies=True)
            time.sleep(0.05)


@contextmanager
def open_bus() -> Iterator[Bus]:
    """A bus with its processes, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name, children() as started:
        yield Bus(Path(name), started)


def bare_hop(count: int, rate: int) -> Delivery:
    """The same frames over one hop of pyzmq: this process publishes, a child receives blocking."""
    symbol = SYMBOLS[0]
    data = frame(TICK, symbol, make_tick(symbol, 1, 1))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name, children() as started:
        endpoint = ipc(Path(name) / "bare")
        socket = make_socket(context, zmq.PUB, bind=endpoint, high_water_mark=0)
        child = Child(PEERS, "receive_bare", endpoint, str(count))
        started.append(child)
        child.hear()
        time.sleep(0.3)  # the subscription is on its way, and nothing tells when it has arrived
        started_ns = boot_ns()
        for number in range(count):
            if rate:
                while boot_ns() < started_ns + number * 1_000_000_000 // rate:
                    time.sleep(0.0002)
            socket.send(data + boot_ns().to_bytes(8, "big"))
        ended_ns = boot_ns()
        received = child.hear()
        context.destroy(linger=0)
    return Delivery(
        published_per_second=count * 1e9 / (ended_ns - started_ns),
        delivered_per_second=count * 1e9 / (received["last_ns"] - started_ns),
        lag_ms=(received["last_ns"] - ended_ns) / 1e6,
        lost=0,
        latencies_us=received["latencies_us"],
    )


def fastest_without_loss(bus: Bus) -> float:
    """Frames published in each second, at the highest rate at which none is lost and none piles up."""
    best = 0.0
    for rate in RATES:
        delivery = bus.deliver(rate, rate)
        if not delivery.kept_up(rate):
            break
        best = delivery.published_per_second
    return best


def rows() -> Iterator[Figure]:
    """Figures of the bus."""
    with open_bus() as bus:
        bus.deliver(BURST // 10, 0)
        fastest = tuple(fastest_without_loss(bus) for _ in range(RUNS))
        quiet = [bus.deliver(QUIET_RATE * QUIET_SECONDS, QUIET_RATE).latencies_us for _ in range(RUNS)]
    bare_fast = tuple(bare_hop(BURST, 0).delivered_per_second for _ in range(RUNS))
    bare_quiet = bare_hop(QUIET_RATE * QUIET_SECONDS, QUIET_RATE).latencies_us
    throughput = Figure(
        "bus: published/s without loss",
        fastest,
        "/s",
        50_000,
        "at least",
        "paced for 1 s at each rate; 15 subscriber processes; ticks made, forwarded, read and decoded",
    )
    bare = Figure("bare pyzmq, one hop", bare_fast, "/s", beside="blocking; a ready-made frame, nothing decoded")
    yield throughput
    yield bare
    yield Figure("bus / bare pyzmq", (throughput.median / bare.median,), "ratio")
    for fraction, target in ((0.5, None), (0.99, 1.0)):
        yield Figure(
            f"bus: latency at {QUIET_RATE}/s, p{fraction * 100:.0f}",
            tuple(percentile(latencies, fraction) / 1000 for latencies in quiet),
            "ms",
            target,
            beside=f"bare pyzmq {percentile(bare_quiet, fraction) / 1000:.2f} ms",
        )
