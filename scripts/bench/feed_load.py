"""Fifteen symbols with thirty trades, best prices and books a second each, from a loopback exchange."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from levibot.bus.messages import PARSE_BOUNDS, Book, LiveReport, Tick, Trades
from levibot.clock import boot_ns
from scripts.bench.children import ROOT
from scripts.bench.figures import LONG, Figure
from scripts.soak.watch import robust_slope
from tests.exchange.connect import connection
from tests.exchange.simulation import PRICES
from tests.market_live.fast_clock import Pace
from tests.market_live.world import FeedHouse

M = TypeVar("M", Tick, Trades, Book)
HZ = 30
SYMBOLS = tuple(PRICES)[:15]
SECONDS = 600.0 if LONG else 30.0
WARM_UP_S = 135.0 if LONG else 5.0  # two minutes of trades are kept, to tell those that come twice
SAMPLE_S = 1.0 if LONG else 0.5


def rows() -> Iterator[Figure]:
    """What is lost, how long a frame takes, and what it costs beside bare loops."""
    with busy_exchange() as (port, control), tempfile.TemporaryDirectory(prefix="levi-") as folder:
        peer = run_peer(port)
        place = connection("binance", port)
        now = Pace(time.monotonic_ns(), time.time_ns() // 1_000_000, 1.0)
        feed = {"live_tick_hz": float(HZ), "book_hz": float(HZ), "history_bars": 100}
        house = FeedHouse(Path(folder), place, SYMBOLS, feed, {}, now, keeps_levels=False)
        try:
            house.start(60)
            time.sleep(WARM_UP_S)
            load = Load(house)
            yield from load.losses(control)
            yield from load.costs(peer)
        finally:
            house.close()


class Load:
    """A while under load."""

    def __init__(self, house: FeedHouse) -> None:
        assert house.process is not None
        self.listener = house.listener
        process = psutil.Process(house.process.pid)
        self.begun_ns, self.before, spent = boot_ns(), self._newest(), process.cpu_times()
        self.memory: list[tuple[float, float]] = []  # seconds, MB
        while (elapsed := (boot_ns() - self.begun_ns) / 1e9) < SECONDS:
            self.memory.append((elapsed, process.memory_full_info().uss / 1e6))
            time.sleep(SAMPLE_S)
        self.seconds, self.after, now = elapsed, self._newest(), process.cpu_times()
        self.cpu = (now.user + now.system - spent.user - spent.system) / elapsed

    def losses(self, control: str) -> Iterator[Figure]:
        """What did not arrive."""
        happened, lost = self._trades(control)
        span = f"of {happened:,} that happened; {len(SYMBOLS)} symbols, {self.seconds:.0f} s"
        yield Figure("live load: trades lost, exchange → bus", (100 * lost / happened,), "%", 0.1, beside=span)
        sent, holes = self._bus_holes()
        yield Figure("live load: messages lost on the bus", (100 * holes / sent,), "%", 0.1, beside=f"of {sent:,}")
        ticks = sum(len(self._since(Tick, symbol)) for symbol in SYMBOLS) / len(SYMBOLS) / self.seconds
        yield Figure("live load: ticks a second and symbol", (ticks,), "/s", beside=f"at most {HZ}: live_tick_hz")

    def costs(self, peer: dict[str, Any]) -> Iterator[Figure]:
        """Time, processor, memory."""
        frames = (self.after.frames - self.before.frames) / self.seconds
        shares = f"{frames:,.0f} frames/s; up to this bound of the histogram"
        p95 = 1000 * quantile(self.before, self.after, 0.95)
        yield Figure("live load: frame read → published, p95", (p95,), "ms", 5, beside=shares)
        updates = sum(peer[f"{kind}_per_s"] for kind in ("trades", "books", "quotes"))
        loops = f"bare ccxt.pro loops, {updates:,.0f} updates/s"
        share = f"{100 * peer['cpu']:.0f} %: {loops}"
        yield Figure("live load: CPU of the feed", (100 * self.cpu,), "%", beside=share)
        size = f"{peer['uss_mb']:.0f} MB: {loops}"
        yield Figure("live load: memory of the feed", (self.memory[-1][1],), "MB", beside=size)
        slope = 3600 * robust_slope([self.memory])
        yield Figure(
            "live load: growth of its memory", (slope,), "MB/h", 20 if LONG else None, beside="median slope"
        )

    def _newest(self) -> LiveReport:
        report = self.listener.reports[-1][2].live
        assert report is not None
        return report

    def _since(self, kind: type[M], symbol: str) -> list[M]:
        return [m for m in self.listener.of(kind, symbol) if m.received_ns >= self.begun_ns]

    def _trades(self, control: str) -> tuple[int, int]:
        """How many happened between the first and the last that were heard, and how many were not heard."""
        happened = lost = 0
        for symbol in SYMBOLS:
            heard = [trade for batch in self._since(Trades, symbol) for trade in batch.trades]
            first_ms, last_ms = heard[0].event_ms, heard[-1].event_ms
            with urllib.request.urlopen(f"{control}/journal?symbol={symbol}", timeout=60) as answer:
                truth = json.loads(answer.read())["trades"]
            wanted = Counter(str(trade["id"]) for trade in truth if first_ms < trade["time_ms"] < last_ms)
            happened += wanted.total()
            lost += (wanted - Counter(trade.trade_id for trade in heard)).total()
        return happened, lost

    def _bus_holes(self) -> tuple[int, int]:
        """Messages that were sent, and those that did not arrive, by the holes in the sequences."""
        sent = holes = 0
        for kind in (Tick, Trades, Book):
            for symbol in SYMBOLS:
                numbers = [message.seq for message in self._since(kind, symbol)]
                sent += numbers[-1] - numbers[0] + 1
                holes += numbers[-1] - numbers[0] + 1 - len(numbers)
        return sent, holes


@contextmanager
def busy_exchange() -> Iterator[tuple[int, str]]:
    """An exchange in a process of its own: port, and URL of its control routes."""
    command = [sys.executable, "-m", "tests.exchange", "--port", "0", "--symbols", ",".join(SYMBOLS)]
    command += ["--trades-per-s", str(HZ), "--quotes-per-s", str(2 * HZ), "--beat-s", str(1 / HZ)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            printed: list[str] = []
            while not printed or not printed[-1].startswith("# key"):
                printed.append(process.stdout.readline())
                if process.poll() is not None:
                    raise RuntimeError(f"the exchange ended: {''.join(printed)}")
            (port,) = set(re.findall(r"127\.0\.0\.1:(\d+)", "".join(printed[:-1])))
            yield int(port), re.findall(r"control (http\S+)", printed[-1])[0]
        finally:
            process.terminate()


def run_peer(port: int) -> dict[str, Any]:
    """Bare loops on the same streams, for a part of the time."""
    command = [sys.executable, "-m", "scripts.bench.feed_peer", str(port), str(min(SECONDS, 60.0)), *SYMBOLS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS + 120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def quantile(before: LiveReport, after: LiveReport, fraction: float) -> float:
    """Bound in seconds below which this part of the frames between two reports was; infinite above the last."""
    counts = [late - early for early, late in zip(before.parse_buckets, after.parse_buckets, strict=True)]
    for bound, count in zip(PARSE_BOUNDS, counts, strict=False):
        if count >= fraction * counts[-1]:
            return bound
    return float("inf")
