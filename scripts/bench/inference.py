"""The inference pool under 15 and 100 engines: round trips, the most it takes, faults and a hot swap."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np

from levibot.bus.sockets import ipc
from levibot.ml.model import import_lightgbm
from levibot.spec import inference_name
from scripts.bench.children import Child, children
from scripts.bench.figures import LONG, RUNS, Figure, machine_load, percentile
from scripts.bench.live import LiveDaemon, open_daemon, wait_for
from scripts.bench.models import GIVEN, TREES, model_text, promote_model

ENGINES, MANY, HZ, PROCESSES = 15, 100, 30.0, 2
DEADLINE = 0.2
WINDOW, _WINDOW_OF_MANY = 16, 4
SECONDS = 10.0 if LONG else 4.0
SWAPS = 5 if LONG else 3
MEASURED = f"{PROCESSES} pool processes of a daemon; {ENGINES} InferenceClients in one more process; {TREES} trees"


@contextmanager
def pool(engines: int, strategy: str, asking: int = ENGINES) -> Iterator[tuple[LiveDaemon, Child]]:
    """A daemon with a pool that has a model, and the clients of `asking` engines beside it."""
    settings: dict[str, dict[str, Any]] = {
        "inference": {"processes": PROCESSES, "deadline": DEADLINE},
        "engine": {"strategy": strategy},
        "feed": {"speed": 60.0},
        "policy.inference": {"heartbeat_interval": 0.5, "hang_after": 2.0},
    }
    with open_daemon(engines, 1.0, **settings) as daemon, children() as started:
        promote_model(daemon.directory / "data" / "models")
        daemon.start()
        daemon.wait_until_ready()
        wait_for(lambda: all(worker["ready"] for worker in _pool(daemon)), "the pool to be ready")
        endpoints = [ipc(daemon.directory / "run" / f"{inference_name(n)}.sock") for n in range(PROCESSES)]
        clients = Child("scripts.bench.inference_clients", str(DEADLINE), str(asking), *endpoints)
        started.append(clients)
        clients.hear()
        clients.ask({"load": "paced", "hz": HZ, "seconds": 1.0, "together": False})
        yield daemon, clients


def rows() -> Iterator[Figure]:
    """Figures of the pool."""
    with pool(1, "sma_cross") as (_, clients):
        yield from _round_trips(clients)
        yield from _throughput(clients)
    with pool(1, "sma_cross", MANY) as (_, clients):
        yield from _many(clients)
    with pool(ENGINES, "ensemble") as (daemon, clients):
        yield from _faults(daemon, clients)
        yield _hot_swap(daemon, clients)


def _round_trips(clients: Child) -> Iterator[Figure]:
    apart = [_paced(clients) for _ in range(RUNS)]
    for fraction, target in ((0.5, 1.0), (0.99, 3.0)):
        name = f"inference: round trip, {ENGINES} engines × {HZ:.0f} Hz, p{fraction * 100:.0f}"
        yield Figure(name, _percentiles(apart, fraction), "ms", target, beside=MEASURED)
    at_once = [_paced(clients, together=True) for _ in range(RUNS)]
    beside = f"from the first of the {ENGINES} questions asked to each answer read; p50 {_median(at_once):.2f} ms"
    yield Figure(
        f"inference: the same, all {ENGINES} at one moment, p99",
        _percentiles(at_once, 0.99),
        "ms",
        6.0,
        beside=beside,
    )


def _many(clients: Child) -> Iterator[Figure]:
    apart = [_paced(clients) for _ in range(RUNS)]
    beside = f"{MANY * HZ:.0f} questions a second; p50 {_median(apart):.2f} ms; {machine_load()}"
    name = f"inference: round trip, {MANY} engines × {HZ:.0f} Hz, p99"
    yield Figure(name, _percentiles(apart, 0.99), "ms", beside=beside)
    beside = f"{_WINDOW_OF_MANY} questions open for each of {MANY} engines"
    yield Figure(
        f"inference: the most it takes of {MANY} engines", _most(clients, _WINDOW_OF_MANY), "/s", beside=beside
    )


def _most(clients: Child, window: int) -> tuple[float, ...]:
    order = {"load": "flood", "window": window, "seconds": SECONDS}
    return tuple(clients.ask(order)["answered_per_second"] for _ in range(RUNS))


def _throughput(clients: Child) -> Iterator[Figure]:
    most = _most(clients, WINDOW)
    alone, executor = one_by_one(), executor_rate()
    ours = Figure(
        "inference: the most it takes",
        most,
        "/s",
        25_000,
        "at least",
        f"{WINDOW} questions open for each of {ENGINES} engines, whose process shares the cores with the pool; "
        f"{machine_load()}",
    )
    yield ours
    yield Figure("Booster.predict in a loop", (alone,), "/s", beside="one row a call, one process, nothing sent")
    yield Figure("ProcessPoolExecutor", (executor,), "/s", beside=f"one row a call, {PROCESSES} processes")
    yield Figure("inference: the most / Booster.predict in a loop", (ours.median / alone,), "ratio")
    yield Figure("inference: the most / ProcessPoolExecutor", (ours.median / executor,), "ratio")


def _faults(daemon: LiveDaemon, clients: Child) -> Iterator[Figure]:
    before = _engines(daemon)
    for signum, words in ((signal.SIGSTOP, "stopped"), (signal.SIGKILL, "killed")):
        late, elsewhere = zip(*(_with_fault(daemon, clients, signum) for _ in range(3)), strict=True)
        beside = (
            f"asked elsewhere: {max(elsewhere):.1f} %; deadline {DEADLINE * 1000:.0f} ms; replaced within the run"
        )
        yield Figure(f"inference: one process {words} at full rate, late", late, "%", 1.0, beside=beside)
    stopped = sum(before.get(name) != pid for name, pid in _engines(daemon).items())
    beside = f"{ENGINES} engines that run the ensemble strategy on the same pool"
    yield Figure("inference: engines stopped by these", (stopped,), "", 0, beside=beside)


def _with_fault(daemon: LiveDaemon, clients: Child, signum: int) -> tuple[float, float]:
    """Percent of the questions that were late, and that were asked elsewhere, around the loss of a process."""
    daemon.reset()
    wait_for(lambda: all(worker["ready"] for worker in _pool(daemon)), "the pool to be ready")
    victim = _pool(daemon)[0]["pid"]
    clients.tell({"load": "paced", "hz": HZ, "seconds": SECONDS + 2, "together": False})
    time.sleep(1.0)
    os.kill(victim, signum)
    result = clients.hear()
    wait_for(lambda: _pool(daemon)[0]["pid"] not in (None, victim), "the process to be replaced")
    asked = result["asked"]
    return 100 * sum(result["missed"].values()) / asked, 100 * result["elsewhere"] / asked


def _hot_swap(daemon: LiveDaemon, clients: Child) -> Figure:
    wait_for(lambda: all(worker["ready"] for worker in _pool(daemon)), "the pool to be ready")
    order = {"load": "paced", "hz": HZ, "seconds": 2.0 * SWAPS + 1, "together": False}
    calm = _failed(clients.ask(order))  # what this machine misses anyway
    clients.tell(order)
    for _ in range(SWAPS):
        promote_model(daemon.directory / "data" / "models")
        time.sleep(2.0)
    result = clients.hear()
    if len(result["models"]) < SWAPS:
        raise RuntimeError(f"answers name only the models {sorted(result['models'])}")
    beside = (
        f"{result['asked']} questions, {SWAPS} swaps, answers of {len(result['models'])} versions;"
        f" failed in the same time without a swap: {calm}"
    )
    return Figure("inference: hot swap at full rate, failed", (_failed(result),), "", 0, beside=beside)


def _failed(result: dict[str, Any]) -> int:
    return int(sum(result["missed"].values()) + result["refused"])


def one_by_one(seconds: float = 2.0) -> float:
    """Rows a second by Booster.predict in a loop."""
    booster = import_lightgbm().Booster(model_str=model_text().decode())
    row = np.zeros((1, len(GIVEN)))
    count, begun = 0, time.perf_counter()
    while time.perf_counter() < begun + seconds:
        booster.predict(row, num_threads=1)
        count += 1
    return count / (time.perf_counter() - begun)


def executor_rate(seconds: float = 3.0) -> float:
    """Rows a second by a ProcessPoolExecutor with as many processes, as many calls open as the pool had."""
    row = [0.0] * len(GIVEN)
    context = get_context("forkserver")
    with ProcessPoolExecutor(PROCESSES, context, _load, (model_text().decode(),)) as executor:
        executor.submit(_predict, row).result()
        pending: set[Future[float]] = set()
        count, begun = 0, time.perf_counter()
        while time.perf_counter() < begun + seconds:
            pending |= {executor.submit(_predict, row) for _ in range(ENGINES * WINDOW - len(pending))}
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            count += len(done)
        return count / (time.perf_counter() - begun)


_loaded: list[Any] = []  # of a process of the executor, which offers no other place


def _load(text: str) -> None:
    _loaded.append(import_lightgbm().Booster(model_str=text))


def _predict(row: list[float]) -> float:
    return float(_loaded[0].predict(np.array([row]), num_threads=1)[0])


def _paced(clients: Child, *, together: bool = False) -> list[int]:
    result = clients.ask({"load": "paced", "hz": HZ, "seconds": SECONDS, "together": together})
    missed = sum(result["missed"].values())  # on a machine that is busy with something else
    return [*result["round_trips_us"], *[int(DEADLINE * 1e6)] * missed]


def _percentiles(runs: list[list[int]], fraction: float) -> tuple[float, ...]:
    return tuple(percentile(values, fraction) / 1000 for values in runs)


def _median(runs: list[list[int]]) -> float:
    return percentile([value for values in runs for value in values], 0.5) / 1000


def _pool(daemon: LiveDaemon) -> list[dict[str, Any]]:
    return [worker for worker in daemon.status()["workers"] if worker["kind"] == "inference"]


def _engines(daemon: LiveDaemon) -> dict[str, int]:
    return {engine["worker"]: engine["pid"] for engine in daemon.status()["engines"]}
