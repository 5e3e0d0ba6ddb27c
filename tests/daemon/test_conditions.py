"""What is checked all the time, made true in a real daemon: each is told once, and is over when it is mended."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest

pytestmark = pytest.mark.unmeasured


def standing(daemon: DaemonUnderTest) -> dict[str, str]:
    """Messages of the alerts that stand, by key."""
    return {alert["key"]: alert["message"] for alert in daemon.api.get("/alerts?state=standing")}


@pytest.mark.long
def test_a_feed_that_falls_silent_is_told_and_over_when_it_speaks_again(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"engine.market_max_age": 1.0, "policy.feed.hang_after": 60.0})
    daemon.start()
    feed = daemon.worker("feed")["pid"]
    os.kill(feed, signal.SIGSTOP)
    try:
        daemon.wait(lambda: "stale_feed" in standing(daemon), "the silence of the feed to be told", seconds=60)
    finally:
        os.kill(feed, signal.SIGCONT)
    daemon.wait(lambda: "stale_feed" not in standing(daemon), "the alert to be over", seconds=60)
    assert daemon.worker("feed")["pid"] == feed


@pytest.mark.long
def test_engines_are_not_blamed_for_a_silence_of_the_feed_when_it_ends(make_daemon: MakeDaemon) -> None:
    slow = {"policy.engine.heartbeat_interval": 0.7, "policy.engine.hang_after": 1.5}
    daemon = make_daemon(**slow, **{"policy.feed.hang_after": 60.0})
    daemon.start()
    daemon.wait(lambda: daemon.engine()["market_data_age_seconds"] is not None, "market data")
    pids, feed = daemon.worker_pids(), daemon.worker("feed")["pid"]
    os.kill(feed, signal.SIGSTOP)
    try:  # far longer than an engine may be deaf to data that flow
        daemon.wait(lambda: daemon.engine()["market_data_age_seconds"] > 5, "a long silence", seconds=60)
    finally:
        os.kill(feed, signal.SIGCONT)
    ticks = daemon.engine()["ticks"]
    daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 60, "ticks for longer than a verdict takes", seconds=60)
    assert daemon.worker_pids() == pids
    assert daemon.events("worker_condemned") == []


@pytest.mark.long
def test_engines_without_an_answer_of_a_model_are_one_alert(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(**{"inference.processes": 1, "engine.strategy": "levibot.strategies.ensemble:Ensemble"})
    daemon.start()
    daemon.wait(lambda: "no_predictions" in standing(daemon), "the want of a model to be told", seconds=60)
    assert "2 of 2 engines" in standing(daemon)["no_predictions"]
    assert "no model lightgbm-simulated yet" in standing(daemon)["no_predictions"]
    assert daemon.api.get("/health")["ok"]


def test_too_little_room_on_the_disk_is_told(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"alerts.disk_free_mb": 1e12})
    daemon.start()
    daemon.wait(lambda: "disk_low" in standing(daemon), "the lack of room to be told")
    assert "MB are free below data_dir" in standing(daemon)["disk_low"]


def test_a_loss_beyond_the_days_limit_is_told_and_lets_only_exits_through_over_a_crash(
    make_daemon: MakeDaemon,
) -> None:
    slow = {"feed.speed": 60.0}  # a day of this market is 24 minutes
    daemon = make_daemon(**{"engine.strategy": f"{FAULTS}:Restless", "risk.daily_loss": 0.00001, **slow})
    daemon.start()

    def told() -> dict[str, Any] | None:
        return next((alert for alert in daemon.status()["alerts"] if "daily_stop" in alert["key"]), None)

    alert: dict[str, Any] = daemon.wait(told, "the daily stop to be told", seconds=60)
    assert "%" in alert["message"]
    assert "`levibotctl risk reset-day`" in alert["remedy"]
    before, refused = daemon.api.get("/risk/summary"), len(_refusals(daemon))
    daemon.kill()
    daemon.start()
    daemon.wait_ready(seconds=60)
    daemon.wait(lambda: "halted: daily_stop" in _refusals(daemon)[refused:], "an entry to be refused", seconds=60)
    daemon.wait(lambda: daemon.api.get("/risk/summary")["positions_open"] == 0, "all to be closed", seconds=60)
    after = daemon.api.get("/risk/summary")
    assert (after["state"], after["since_ms"]) == ("HALTED", before["since_ms"])
    granted = [line for line in daemon.api.get_bytes("/metrics").decode().splitlines() if "grants_total" in line]
    assert [line.split()[-1] for line in granted if not line.startswith("#")] == ["0"]


def _refusals(daemon: DaemonUnderTest) -> str:
    return " ".join(event["reason"] for event in daemon.events("risk_refused"))


def test_a_disk_that_refuses_the_books_frees_the_ballast_and_bars_entries(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"], **{"engine.strategy": f"{FAULTS}:Restless", "feed.speed": 600.0})
    daemon.start()
    ballast = daemon.state / "ballast"
    daemon.wait(lambda: ballast.exists() and ballast.stat().st_size == 1_000_000, "the ballast")
    broker = psutil.Process(daemon.worker_pids()["broker"])
    broker.rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
    daemon.wait(lambda: "disk_full" in standing(daemon), "the full disk to be told")
    assert not ballast.exists()
    risk = daemon.status()["daemon"]
    assert (risk["risk_state"], "disk_full" in risk["risk_reason"]) == ("REDUCING", True)
    broker.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
