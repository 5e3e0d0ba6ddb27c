"""The HTTP interface of a daemon with fifteen engines, beside a server that returns fixed bytes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.bench.children import ROOT
from scripts.bench.figures import LONG, RUNS, Figure, percentile
from scripts.bench.live import open_daemon, wait_for

ENGINES = 15
RATE = 100.0
SECONDS = 10.0 if LONG else 2.0
CONNECTIONS = 4


@dataclass(frozen=True)
class Load:
    """What one run of the client found; times in ms."""

    per_second: float
    times: tuple[float, ...]


def rows() -> Iterator[Figure]:
    """Latency at a steady rate, and the most that is answered."""
    ports = _free_ports(2)
    with open_daemon(ENGINES, 4.0, api={"port": ports[0]}) as daemon:
        daemon.start()
        daemon.wait_until_ready()
        size = len(daemon.client.get_bytes("/engines/status"))
        with _peer(ports[1], size):
            yield from _figures(ports[0], ports[1], size)
        restarts = sum(engine["restarts"] for engine in daemon.status()["engines"])
    if restarts:
        raise RuntimeError(f"{restarts} restarts of engines while the interface was under load")


def _figures(port: int, peer: int, size: int) -> Iterator[Figure]:
    for path, bounds in (("/engines/status", (5.0, 5000.0)), ("/health", (None, None))):
        steady, bare = _runs(port, path, RATE), _runs(peer, "/", RATE)
        beside = f"bare uvicorn {_p99(bare):.2g} ms; p50 {_quantile(steady, 0.5):.2g} ms; {size} bytes"
        values = tuple(percentile(run.times, 0.99) for run in steady)
        yield Figure(f"GET {path}, {ENGINES} engines, {RATE:g}/s: p99", values, "ms", bounds[0], beside=beside)
        most, bare_most = _runs(port, path, 0.0), _runs(peer, "/", 0.0)
        limit = percentile([run.per_second for run in bare_most], 0.5)
        flat_out = tuple(run.per_second for run in most)
        beside = f"bare uvicorn {limit:,.0f}/s; {CONNECTIONS} connections, both sides on this machine"
        yield Figure(f"GET {path}: the most it takes", flat_out, "/s", bounds[1], "at least", beside)


def _runs(port: int, path: str, rate: float) -> list[Load]:
    return [_run_client(port, path, rate) for _ in range(RUNS)]


def _run_client(port: int, path: str, rate: float) -> Load:
    arguments = [str(port), path, str(CONNECTIONS), str(SECONDS), str(rate)]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.api_client", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    summary, *times = done.stdout.splitlines()
    count, seconds = summary.split()
    return Load(int(count) / float(seconds), tuple(float(taken) / 1000 for taken in times))


def _p99(runs: list[Load]) -> float:
    return _quantile(runs, 0.99)


def _quantile(runs: list[Load], fraction: float) -> float:
    return percentile([percentile(run.times, fraction) for run in runs], 0.5)


@contextmanager
def _peer(port: int, size: int) -> Iterator[None]:
    command = [sys.executable, "-m", "scripts.bench.api_peer", str(port), str(size)]
    process = subprocess.Popen(command, cwd=ROOT)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_for(answers, "the bare server")
        yield
    finally:
        process.terminate()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
