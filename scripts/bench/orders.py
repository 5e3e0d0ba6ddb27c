"""From an engine's intent to its acceptance by the paper broker, on disk twice; and what the disk takes alone."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import multiprocess
import zmq

from levibot.bus.messages import Role
from levibot.clock import boot_ns
from levibot.execution.acceptance import AcceptanceTimes
from levibot.execution.broker_client import BrokerClient, Recovered
from levibot.execution.ledger import Ledger
from levibot.symbols import on_disk
from scripts.bench.figures import LONG, RUNS, Figure, percentile
from scripts.bench.live import symbols
from tests.execution.examples import entry, leave
from tests.workers.broker_house import House

ENGINES = 15
ROUNDS = 200 if LONG else 40
_PAGE = 4096
_LONG_NS = 3_600_000_000_000


def rows() -> Iterator[Figure]:
    """Figures of orders that come one by one, and of those that come at the same moment."""
    alone = tuple(percentile(_fsyncs(1), 0.5) for _ in range(RUNS))
    crowded = tuple(percentile(_fsyncs(ENGINES), 0.99) for _ in range(RUNS))
    note = "journaled in the engine's ledger, then in the broker's books: synchronous = FULL, paper.latency = 0"
    for together in (False, True):
        runs = [_run(together) for _ in range(RUNS)]
        how = f"{ENGINES} engines at the same moment" if together else f"{ENGINES} engines, one at a time"
        for fraction, target in ((0.5, None), (0.99, 15.0)):
            values = tuple(percentile(run, fraction) for run in runs)
            name = f"intent → journaled → accepted on paper, {how}, p{fraction * 100:.0f}"
            yield Figure(name, values, "ms", target, beside=note)
    note = f"{_PAGE} bytes appended to a file; an order takes two, one after the other"
    yield Figure("bare fsync of this disk, p50", alone, "ms", beside=note)
    yield Figure(f"bare fsync of this disk, {ENGINES} files at the same moment, p99", crowded, "ms", beside=note)


class _Times(AcceptanceTimes):
    """Keeps each time, too."""

    def __init__(self) -> None:
        super().__init__()
        self.ms: list[float] = []

    def observe(self, seconds: float) -> None:
        """Count one."""
        super().observe(seconds)
        self.ms.append(1000 * seconds)


class _Engine:
    """Ledger and broker client of one symbol, as an engine has them."""

    def __init__(self, endpoint: str, folder: Path, symbol: str) -> None:
        self.times = _Times()
        self._symbol = symbol
        self._ledger = Ledger.open(folder / f"{on_disk(symbol)}.sqlite", symbol, "bench")
        self._client = BrokerClient(
            zmq.Context.instance(),
            endpoint,
            symbol=symbol,
            name=f"bench-{symbol}",
            ledger=self._ledger,
            refuse=_fail,
            fail=_fail,
        )
        self._client.acceptance = self.times

    def reconcile(self) -> None:
        """Ask until the broker has answered."""
        reconciled = False
        while not reconciled:
            self._client.ask(boot_ns(), _LONG_NS)
            self._client.socket.poll(50)
            reconciled = any(isinstance(message, Recovered) for message in self._client.drain())

    def trade(self, number: int) -> None:
        """Open at each even number and close at the next; wait until all that follows is stored."""
        role: Role = "exit" if number % 2 else "entry"
        client_id = self._ledger.new_client_id(role)
        make = leave if role == "exit" else entry
        self._client.submit(make("1", client_id=client_id, symbol=self._symbol))
        while client_id in self._ledger.open_ids():
            self._client.socket.poll(1000)
            for _ in self._client.drain():
                pass


def live(endpoint: str, folder: Path, symbol: str, start: Any, turn: Any, results: Any) -> None:
    """One engine, in a process of its own: a round at each second time that `start` lets all through."""
    engine = _Engine(endpoint, folder, symbol)
    engine.reconcile()
    for number in range(ROUNDS):
        start.wait()
        start.wait()
        with turn if turn is not None else nullcontext():
            engine.trade(number)
    results.put(engine.times.ms[2:])  # without the first pair, which is start-up


def _run(together: bool) -> list[float]:
    context = multiprocess.get_context("forkserver")
    start, results = context.Barrier(ENGINES + 1, timeout=60), context.Queue()
    turn = None if together else context.Lock()
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        house = House(Path(name), symbols=tuple(symbols(ENGINES)))
        try:
            house.start()
            house.until_beat(lambda beat: beat.ready and not beat.waiting_for, "a ready broker")
            engines = [
                context.Process(
                    target=live,
                    args=(house.spec.endpoints.broker, Path(name), symbol, start, turn, results),
                    daemon=True,
                )
                for symbol in house.spec.symbols
            ]
            for engine in engines:
                engine.start()
            for _ in range(ROUNDS):
                start.wait()  # all are done with the round before
                for symbol in house.spec.symbols:
                    house.publish(100.0, symbol=symbol)
                house.serve()
                time.sleep(0.02)  # until the broker has the prices
                start.wait()
            times = [ms for _ in engines for ms in results.get(timeout=60)]
            for engine in engines:
                engine.join()
            return times
        finally:
            house.close()


def _fsyncs(files: int) -> list[float]:
    """Milliseconds of each of many appended and synced pages, of so many files at the same moment."""
    start, times = threading.Barrier(files), list[float]()

    def write() -> None:
        with tempfile.TemporaryFile(prefix="levi-bench-") as file:
            for _ in range(ROUNDS):
                file.write(os.urandom(_PAGE))
                file.flush()
                start.wait()
                started = time.perf_counter()
                os.fsync(file.fileno())
                times.append(1000 * (time.perf_counter() - started))

    threads = [threading.Thread(target=write) for _ in range(files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _fail(reason: str) -> None:
    raise RuntimeError(reason)
