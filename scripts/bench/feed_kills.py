"""kill -9 of a live feed under a real daemon whose market runs twenty times as fast: what engines feel of it."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from levibot.market.bars import MINUTE_MS
from scripts.bench.figures import LONG, Figure
from scripts.bench.live import wait_for
from tests.daemon.harness import DaemonUnderTest, daemon
from tests.daemon.test_live_kill import settings, wait_bars
from tests.exchange.running import running
from tests.exchange.settings import Settings
from tests.market_live import diary
from tests.market_live.fast_clock import environment
from tests.market_live.world import SYMBOLS, fast, pace_of

KILLS = 20 if LONG else 5


def rows() -> Iterator[Figure]:
    """Time to fresh data at the engines, and what they missed."""
    with (
        tempfile.TemporaryDirectory(prefix="levi-") as name,
        running(fast(Settings(symbols=SYMBOLS, trades_per_s=10.0))) as exchange,
        daemon(Path(name), **settings(exchange, Path(name))) as under_test,
    ):
        folder = Path(name)
        under_test.start(**environment(pace_of(exchange)))
        wait_bars(under_test, folder, 1)
        before = under_test.worker_pids()
        fresh = tuple(kill_feed(under_test, folder) for _ in range(KILLS))
        after = under_test.worker_pids()
        changed = {worker for worker in before if before[worker] != after[worker]} - {"feed"}
        under_test.stop()
        missing = doubled = seen = 0
        for symbol in SYMBOLS:
            bars = diary.read(folder, symbol).bars
            wanted = (bars[-1] - bars[0]) // MINUTE_MS + 1
            seen += wanted
            missing += wanted - len(set(bars))
            doubled += len(bars) - len(set(bars))
    beside = "trades of all symbols at the strategies, every market live"
    yield Figure("live feed kill -9 → fresh data at the engines", fresh, "s", 5, beside=beside)
    yield Figure("live feed kill -9: other workers that were replaced", (float(len(changed)),), "", 0)
    yield Figure("live feed kill -9: bars missing at strategies", (float(missing),), "", 0, beside=f"of {seen}")
    yield Figure("live feed kill -9: bars doubled at strategies", (float(doubled),), "", 0)


def kill_feed(under_test: DaemonUnderTest, folder: Path) -> float:
    """Seconds from SIGKILL until strategies have new trades again and every market is live."""
    pid = under_test.worker_pids()["feed"]
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    told: dict[str, int] = {}

    def is_fresh() -> bool:
        if under_test.worker("feed")["pid"] in (None, pid):
            told.update({symbol: diary.read(folder, symbol).trades.total() for symbol in SYMBOLS})
            return False
        if {engine["market"] for engine in under_test.status()["engines"]} != {"live"}:
            return False
        return all(diary.read(folder, symbol).trades.total() > told.get(symbol, 0) for symbol in SYMBOLS)

    wait_for(is_fresh, "fresh data", every=0.01)
    seconds = time.monotonic() - killed
    wait_bars(under_test, folder, 2)
    return seconds
