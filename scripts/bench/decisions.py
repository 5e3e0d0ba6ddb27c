"""From a bar that closes in the feed to the order that the paper broker has accepted, all engines at once."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from levibot.bus.codec import Decoder
from levibot.bus.messages import OrderAccepted, OrderEvent
from levibot.ml.tft.extra import absence
from scripts.bench.figures import LONG, RUNS, Figure, machine_load, percentile
from scripts.bench.live import Document, LiveDaemon, open_daemon
from scripts.bench.models import promote_model, promote_network

ENGINES = 15
TICK_HZ = 4.0
SPEED = 120.0  # two bars a second: in after the one, out after the other
SECONDS = 120.0 if LONG else 15.0
_LATEST = 10.0  # seconds; an order further from its bar belongs to another


class Decision(NamedTuple):
    """One entry; Unix seconds."""

    published: float  # the bar, by the feed
    asked: float  # the strategy was called with it
    answered: float  # the pool's answer was in its hands
    judged: float  # the signal
    sent: float  # the intent: granted, journaled, on its way
    accepted: float  # written down by the broker, whose stamp is in whole ms: the end of that millisecond
    heard: float  # committed there, and stored in the engine's ledger too
    kinds: int  # of models that were heard
    cpu: float  # seconds of the engine's processor time from the strategy's call to the signal

    @property
    def stages(self) -> tuple[float, ...]:
        """What each step took, in ms."""
        return tuple(1000 * (after - before) for before, after in pairwise(self[:-2]))


def rows() -> Iterator[Figure]:
    """Figures of the way from a bar to an order."""
    runs = [_run() for _ in range(RUNS)]
    yield from _ways(runs)
    yield from _with_network()


def _ways(runs: list[list[Decision]]) -> Iterator[Figure]:
    decisions = [decision for run in runs for decision in run]
    stages = [statistics.median(values) for values in zip(*(d.stages for d in decisions), strict=True)]
    names = ("feed → engine", "features and pool", "signal", "risk and journal", "broker", "commit and back")
    beside = ", ".join(f"{name} {value:.1f}" for name, value in zip(names, stages, strict=True))
    note = f"{ENGINES} engines at the same bar, {len(decisions):,} entries; median ms: {beside}"
    for fraction, target in ((0.5, None), (0.99, 50.0)):
        values = tuple(percentile([1000 * (d.accepted - d.published) for d in run], fraction) for run in runs)
        name = f"bar closed in the feed → order accepted by the paper broker, p{fraction * 100:.0f}"
        yield Figure(name, values, "ms", target, beside=note)
    signals = tuple(percentile([1000 * (d.judged - d.published) for d in run], 0.95) for run in runs)
    beside = f"the same entries: bus, features, question, answer, judgement; {machine_load()}"
    yield Figure("bar closed in the feed → signal, by LightGBM, p95", signals, "ms", 5.0, beside=beside)
    yield from _floor(runs)
    values = tuple(percentile([1000 * (d.heard - d.published) for d in run], 0.99) for run in runs)
    yield Figure(
        "the same → its fill in the engine's ledger, p99", values, "ms", beside="all of it on disk, twice"
    )
    commits = (
        f"one SQLite database, a commit after another, synchronous = FULL: the broker's part of {ENGINES} orders"
    )
    yield Figure(
        f"{ENGINES} commits to disk, one by one", tuple(_commits() for _ in range(RUNS)), "ms", beside=commits
    )


def _floor(runs: list[list[Decision]]) -> Iterator[Figure]:
    """What no arrangement of so many engines can do better than, and what one alone takes."""
    cores = os.cpu_count() or 1
    values = tuple(1000 * statistics.fmean(d.cpu for d in run) * ENGINES / min(cores, ENGINES) for run in runs)
    name = (
        f"the same, were there only the engines' own work: {ENGINES} times its processor time over {cores} cores"
    )
    beside = "from the strategy's call to the signal: without bus, feed, pool and waking up"
    yield Figure(name, values, "ms", beside=beside)
    alone = tuple(percentile(_alone(), 0.95) for _ in range(RUNS))
    name = "bar closed in the feed → signal, by LightGBM, one engine alone, p95"
    beside = f"nobody else wants the cores at that moment; {machine_load()}"
    yield Figure(name, alone, "ms", 5.0, beside=beside)


def _with_network() -> Iterator[Figure]:
    """The same with a Temporal Fusion Transformer asked beside LightGBM."""
    reason = absence()
    try:
        runs = [] if reason else [_run(network=True) for _ in range(RUNS)]
    except ImportError as error:
        reason = f"no PyTorch ({error}); `make install-tft-cpu` brings it"
    if reason:
        print(f"  with TFT skipped: {reason}")
        return
    signals = tuple(percentile([1000 * (d.judged - d.published) for d in run], 0.95) for run in runs)
    heard = sum(d.kinds == 2 for run in runs for d in run) / max(1, sum(map(len, runs)))
    beside = f"{ENGINES} engines at the same bar; both were heard for {heard:.0%} of the signals; {machine_load()}"
    yield Figure("bar closed in the feed → signal, by LightGBM and TFT, p95", signals, "ms", 50.0, beside=beside)


def _run(*, network: bool = False) -> list[Decision]:
    with _traded(ENGINES, network) as (daemon, pids, times):
        accepted = _accepted(daemon.directory / "data" / "paper-simulated-default" / "broker.sqlite")
        return [
            decision
            for symbol, pid in pids.items()
            for decision in _decisions(daemon, symbol, times / f"{pid}.jsonl", accepted)
        ]


def _alone() -> list[float]:
    """Milliseconds from bar to signal of one engine, whatever became of the signal."""
    with _traded(1, network=False) as (_, pids, times):
        noted = [record for pid in pids.values() for record in _noted(times / f"{pid}.jsonl")]
        return [1000 * (record["judged"] - record["published"]) for record in noted]


@contextmanager
def _traded(engines: int, network: bool) -> Iterator[tuple[LiveDaemon, dict[str, int], Path]]:
    """A daemon that has traded for a while, its engines' processes by symbol, and where they left their times."""
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        settings: dict[str, Document] = {
            "feed": {"speed": SPEED},
            "paper": {"cash": 1_000_000, "latency": 0.0},
            "risk": {"max_positions": ENGINES, "position_cap": 0.05, "correlated_exposure": 1.0},
            "inference": {"processes": 2, "tft_processes": int(network)},
            "engine": {"strategy": "scripts.bench.strategies:InAndOut", "strategy_options": {"directory": name}},
        }
        with open_daemon(engines, TICK_HZ, **settings) as daemon:
            promote_model(daemon.directory / "data" / "models")
            if network:
                promote_network(daemon.directory / "data" / "models")
            daemon.start()
            daemon.wait_until_ready()
            time.sleep(SECONDS)
            pids = {engine["symbol"]: engine["pid"] for engine in daemon.status()["engines"]}
            daemon.stop()  # so that files are whole, and tell of the same orders
            yield daemon, pids, Path(name)


def _accepted(books: Path) -> dict[str, float]:
    """When the broker accepted each order."""
    decode: Decoder[OrderEvent] = Decoder(OrderEvent)
    database = sqlite3.connect(f"file:{books}?mode=ro", uri=True)
    events = [decode(body) for (body,) in database.execute("SELECT body FROM events")]
    database.close()
    return {e.client_id: (e.recorded_ms + 1) / 1000 for e in events if isinstance(e, OrderAccepted)}


def _decisions(daemon: LiveDaemon, symbol: str, times: Path, accepted: dict[str, float]) -> list[Decision]:
    """What the strategy of an engine noted, joined with the engine's log."""
    sent, heard = _orders(daemon.directory / "data" / "logs", symbol)
    moments = sorted(sent)
    decisions = []
    for record in _noted(times):
        position = bisect_left(moments, record["answered"])
        if position < len(moments) and (client_id := sent[moments[position]]) in heard:
            decision = Decision(
                **record, sent=moments[position], accepted=accepted[client_id], heard=heard[client_id]
            )
            if decision.heard - decision.published < _LATEST:
                decisions.append(decision)
    return decisions


def _noted(times: Path) -> list[Document]:
    """What the strategy of an engine noted, without the first, which is start-up."""
    return [json.loads(line) for line in times.read_text(encoding="utf-8").splitlines()][1:]


def _orders(logs: Path, symbol: str) -> tuple[dict[float, str], dict[str, float]]:
    """Entries of an engine's log: client id by the time it was sent, time of the fill by client id."""
    sent: dict[float, str] = {}
    heard: dict[str, float] = {}
    for path in logs.glob(f"engine-{symbol.replace('/', '-')}-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record.get("role") != "entry":
                continue
            moment = datetime.fromisoformat(record["ts"]).timestamp()
            if record["event"] == "order_sent":
                sent[moment] = record["client_id"]
            elif record["event"] == "order_filled":
                heard[record["client_id"]] = moment
    return sent, heard


def _commits() -> float:
    """Milliseconds that as many small transactions take as there are engines."""
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        database = sqlite3.connect(Path(name) / "x.sqlite", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE events (body BLOB)")
        started = time.perf_counter()
        for _ in range(ENGINES):
            database.execute("INSERT INTO events VALUES (?)", (os.urandom(300),))
        elapsed = time.perf_counter() - started
        database.close()
        return 1000 * elapsed
