"""kill -9 of the feed in the middle of live streams: engines stay up, and miss no bar."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from levibot.market.bars import MINUTE_MS
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest, live_settings
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.market_live import diary
from tests.market_live.fast_clock import environment
from tests.market_live.world import SPEED, SYMBOLS, fast, pace_of

pytestmark = pytest.mark.unmeasured

KILLS = 2


def test_engines_stay_up_and_miss_no_bar(make_daemon: MakeDaemon, run_dir: Path) -> None:
    """A minute passes in three seconds: each outage is longer than one."""
    with running(fast(Settings(symbols=SYMBOLS, trades_per_s=10.0))) as exchange:
        daemon = make_daemon(**settings(exchange, run_dir))
        daemon.start(**environment(pace_of(exchange)))
        wait_bars(daemon, run_dir, 2)
        before = daemon.worker_pids()
        for _ in range(KILLS):
            pid = daemon.worker_pids()["feed"]
            os.kill(pid, signal.SIGKILL)
            daemon.wait_replaced("feed", pid)
            daemon.wait(lambda: is_live(daemon), "both markets to be live again", seconds=60)
            wait_bars(daemon, run_dir, 2)
        after = daemon.worker_pids()
        assert {name for name in before if before[name] != after[name]} == {"feed"}
        assert daemon.stop() == 0
        for symbol in SYMBOLS:
            pages = diary.read(run_dir, symbol)
            assert pages.bars == sorted(pages.bars)
            # what closed while there was no feed comes with the history of the next one
            bars = sorted([*pages.history, *pages.bars])
            assert bars == list(range(bars[0], bars[-1] + 1, MINUTE_MS)), "each once, none missing"
            assert set(pages.trades.values()) == {1}


def settings(exchange: RunningExchange, folder: Path) -> dict[str, Any]:
    """Dotted keys of a daemon on a fast exchange whose strategies keep a diary in `folder`."""
    return {
        **live_settings(exchange),
        "exchange.requests_per_minute": 1_200 * SPEED,
        "engine.strategy": diary.NAME,
        "engine.strategy_options.folder": str(folder),
        "policy.feed.restart_delays": [0.0],
    }


def is_live(daemon: DaemonUnderTest) -> bool:
    return {engine["market"] for engine in daemon.status()["engines"]} == {"live"}


def wait_bars(daemon: DaemonUnderTest, folder: Path, count: int) -> None:
    """Wait until the strategies of both engines have been given so many bars more."""
    had = {symbol: len(diary.read(folder, symbol).bars) for symbol in SYMBOLS}
    daemon.wait(
        lambda: all(len(diary.read(folder, symbol).bars) >= had[symbol] + count for symbol in SYMBOLS),
        f"{count} bars",
        seconds=60,
    )
