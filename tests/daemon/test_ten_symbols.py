"""Ten symbols trade on paper from real recorded candles, one process each, and survive kill -9 of anything."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from levibot.api.client import ApiClient
from levibot.bus.messages import OrderFilled
from tests.daemon.audit import Books, audit
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest
from tests.market.real_data import real_data

pytestmark = pytest.mark.unmeasured

BASES = ("BTC", "ETH", "SOL", "BNB", "XRP", "LTC", "ADA", "AVAX", "DOGE", "LINK")
SYMBOLS = [f"{base}/USDT" for base in BASES]
CASH = Decimal(10_000)


def replay(make_daemon: MakeDaemon, **settings: Any) -> DaemonUnderTest:
    daemon = make_daemon(
        symbols=SYMBOLS,
        **{
            "feed.source": "replay",
            "feed.path": str(real_data("candles", "binance-um-2025-05")),
            "feed.start": "2025-05-27T00:00:00",
            "feed.speed": 1200.0,
            "risk.max_positions": 10,
            "risk.position_cap": 0.09,
            "risk.correlated_exposure": 1.0,
            "policy.engine.restart_delays": [0.0],
            "policy.engine.restart_budget": 0,
            "policy.engine.restart_alert": 1000,
            "policy.broker.restart_delays": [0.0],
            "policy.feed.restart_delays": [0.0],
            "policy.broker.restart_alert": 1000,
            "policy.feed.restart_alert": 1000,
            **settings,
        },
    )
    daemon.state = daemon.data / "paper-replay-default"
    return daemon


def settled_audit(daemon: DaemonUnderTest) -> Books:
    """Let every engine hear the last of its orders, then stop and audit."""
    daemon.wait_ready(seconds=60)
    for engine in daemon.status()["engines"]:
        daemon.post(f"/engines/pause/{engine['symbol']}")
    daemon.wait(lambda: all(e["paused"] and e["ready"] for e in daemon.status()["engines"]), "all to be paused")
    assert daemon.stop() == 0
    return audit(daemon.state, CASH, settled=False)  # a stop may fire while engines end already


@pytest.mark.parametrize("seconds", [pytest.param(180.0, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
def test_kill_9_of_anything_loses_and_repeats_nothing(make_daemon: MakeDaemon, seconds: float) -> None:
    daemon = replay(make_daemon)
    daemon.start()
    dice = random.Random(11)
    kills = supervisor_kills = 0
    end = time.monotonic() + seconds
    for victim in _victims(dice):
        if time.monotonic() > end:
            break
        time.sleep(dice.uniform(0.05, 0.5))  # the moment of the fault is meant to be any moment
        if victim == "supervisor":
            daemon.kill()
            daemon.start(ready=False)
            supervisor_kills += 1
        else:
            pid = daemon.worker_pids().get(victim)
            if pid is not None and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        kills += 1
    books = settled_audit(daemon)
    assert kills > seconds / 2
    assert supervisor_kills
    assert books.fills > 5, "it traded while it was tortured"


def _victims(dice: random.Random) -> Iterator[str]:
    """Engines most often, then broker and feed; the supervisor once in ten."""
    engines = [f"engine-{base}-USDT" for base in BASES]
    while True:
        yield from dice.sample([*engines[:7], "broker", "feed", "supervisor"], 10)


@pytest.mark.parametrize("minutes", [12, pytest.param(240, marks=pytest.mark.long)])
def test_two_lockstep_replays_give_the_same_orders(make_daemon: MakeDaemon, tmp_path: Path, minutes: int) -> None:
    until_ms = 1_748_304_000_000 + minutes * 60_000
    runs = []
    for name in ("first", "second"):
        daemon = replay(make_daemon, **{"feed.lockstep": True, "supervisor.data_dir": str(tmp_path / name)})
        daemon.data, daemon.state = tmp_path / name, tmp_path / name / "paper-replay-default"
        daemon.api = ApiClient(daemon.data / "run" / "api.sock")
        daemon.start()
        daemon.wait(lambda d=daemon: (d.status()["daemon"]["market_ms"] or 0) > until_ms, "the end", seconds=100)
        runs.append(fills(settled_audit(daemon), until_ms))
    assert len(runs[0]) > minutes // 30
    assert runs[0] == runs[1]


def fills(books: Books, until_ms: int) -> list[tuple[Any, ...]]:
    """Fills in the order in which they happened, without what is random: ids and wall time."""
    return [
        (event.event_ms, event.symbol, event.fill.quantity, event.fill.price, event.fill.fee)
        for event in books.events
        if isinstance(event, OrderFilled) and event.event_ms <= until_ms
    ]
