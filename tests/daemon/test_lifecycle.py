"""What an operator does with a daemon: start, look, command, stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from levibot.api.client import ApiError
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest, alive
from tests.deadline import wait_for

pytestmark = pytest.mark.unmeasured

WORKER = {
    "symbol", "status", "uptime_seconds", "last_heartbeat", "error_count", "last_error", "pid", "restarts",
    "restart_causes", "next_attempt_at", "rss_bytes", "uss_bytes", "cpu_percent", "queue_depth", "dropped",
    "market_data_age_seconds",
}  # fmt: skip
CONTRACT = WORKER | {"position", "daily_pnl", "total_pnl", "trade_count"}


def test_the_embedded_market_is_traded_and_everything_ends_with_one_clean_stop(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    status = daemon.status()
    assert (status["total"], status["running"], status["crashed"]) == (2, 2, 0)
    assert "SIMULATED" in status["daemon"]["disclosure"]
    for engine in status["engines"]:
        assert engine.keys() >= CONTRACT
        assert engine["preloaded"], "the forkserver's preload did not take"
    assert {worker["worker"] for worker in status["workers"]} == {"feed", "broker"}
    assert status["workers"][0].keys() >= WORKER
    daemon.wait(lambda: any(e["trade_count"] for e in daemon.status()["engines"]), "a trade", seconds=60)
    pids = [*daemon.worker_pids().values(), status["daemon"]["pid"], status["daemon"]["forkserver_pid"]]
    assert daemon.process is not None
    for _ in range(49):  # row 24
        daemon.process.terminate()
    assert daemon.stop() == 0
    assert not [pid for pid in pids if alive(pid)]
    assert daemon.processes() == []
    assert len(daemon.events("daemon_stopped")) == 1
    assert not (daemon.data / "run" / "api.sock").exists()


def test_a_second_supervisor_is_refused_and_told_who_is_there(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    assert daemon.process is not None
    second = subprocess.run(
        [sys.executable, "-m", "levibot", "-c", str(daemon.config), "--no-table"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert str(daemon.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.status()["running"] == 1


@pytest.mark.long
def test_stale_lock_and_sockets_do_not_matter(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    daemon.kill()
    assert (daemon.data / "supervisor.lock").exists()
    assert (daemon.data / "run" / "control.sock").exists()
    daemon.start()
    assert daemon.status()["running"] == 1
    assert daemon.stop() == 0
    assert not list((daemon.data / "run").iterdir()), "a clean stop leaves nothing"


def test_commands_act_on_one_symbol_and_are_durable(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    other = daemon.engine("ETH/USDT")["pid"]
    daemon.post("/engines/pause/BTC-USDT")
    daemon.wait(lambda: daemon.engine()["status"] == "paused", "BTC to be paused")
    assert_refused(daemon, "/engines/pause/BTCUSDT", 409)
    first = daemon.engine()["pid"]
    assert daemon.post("/engines/restart/BTC/USDT") == {"ok": True, "symbol": "BTC/USDT", "status": "restarted"}
    daemon.wait(lambda: daemon.engine()["ready"], "BTC to be ready again")
    assert daemon.engine()["pid"] != first
    assert daemon.engine()["status"] == "paused", "a pause outlives a restart"
    assert daemon.engine()["restarts"] == 0, "an operator's restart is free"
    daemon.post("/engines/stop/ETH/USDT")
    assert daemon.engine("ETH/USDT")["status"] == "stopped"
    assert not alive(other)
    assert_refused(daemon, "/engines/stop/ETH/USDT", 409)
    assert_refused(daemon, "/engines/start/DOGE/USDT", 404)

    daemon.kill()
    daemon.start(ready=False)
    daemon.wait_ready("BTC/USDT")
    assert daemon.engine()["status"] == "paused"
    assert daemon.engine("ETH/USDT")["status"] == "stopped"
    daemon.post("/engines/start/ETH/USDT")
    daemon.wait_ready("ETH/USDT")
    daemon.post("/engines/resume/BTC/USDT")
    daemon.wait(lambda: daemon.engine()["status"] == "running", "BTC to run")


def test_add_and_remove_hold_until_the_next_reload(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    before = daemon.worker_pids()
    assert "until the next reload" in daemon.post("/engines/add/SOL/USDT")["message"]
    assert "until the next reload" in daemon.post("/engines/remove/ETH/USDT?keep=true")["message"]
    daemon.wait_ready("SOL/USDT")
    assert [e["symbol"] for e in daemon.status()["engines"]] == ["BTC/USDT", "SOL/USDT"]
    report = daemon.post("/daemon/reload?keep=true")
    assert (report["added"], report["removed"]) == (["ETH/USDT"], ["SOL/USDT"])
    daemon.wait_ready()
    after = daemon.worker_pids()
    assert sorted(after) == sorted(before)
    assert after["engine-BTC-USDT"] == before["engine-BTC-USDT"], "who is not concerned is left alone"
    assert after["feed"] == before["feed"]


def test_a_reload_restarts_alone_what_changed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    before = daemon.worker_pids()
    daemon.write_config(**{'overrides."BTC/USDT".cycle_interval': 0.5})
    assert daemon.process is not None
    daemon.process.send_signal(1)  # SIGHUP, as `systemctl reload` would
    daemon.wait(lambda: daemon.events("configuration_reloaded"), "the reload")
    daemon.wait_ready()
    after = daemon.worker_pids()
    changed = {worker for worker in before if after[worker] != before[worker]}
    assert changed == {"engine-BTC-USDT"}


def test_a_reload_names_what_says_which_market_this_is_and_leaves_it_as_it_is(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    before = daemon.worker_pids()
    daemon.write_config(exchange__id="binance", exchange__sandbox=True, exchange__proxy="http://127.0.0.1:1")
    report = daemon.post("/daemon/reload")
    assert report["message"] == (
        "reloaded, with changes of exchange, but for exchange.id, exchange.sandbox:"
        " these apply after `levibotctl upgrade`"
    )
    assert report["restarted"] == []  # nothing of a simulated market goes through that proxy
    status = daemon.status()
    assert (status["daemon"]["exchange"], daemon.worker_pids()) == ("simulated", before)


BAD_LINES = {
    "[engine]\nstrategi = 1": "strategi",
    'symbols = ["BTCUSDT"]': "BTCUSDT",
    "[engine": "supervisor.toml:1",
}


def test_a_bad_file_changes_nothing(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    before = daemon.worker_pids()
    for line, named in BAD_LINES.items():
        daemon.config.write_text(line + "\n", encoding="utf-8")
        with pytest.raises(ApiError) as refusal:
            daemon.post("/daemon/reload")
        assert named in str(refusal.value)
        assert "supervisor.toml" in str(refusal.value)
        assert daemon.worker_pids() == before


def test_a_strategy_that_cannot_be_made_refuses_the_reload(make_daemon: MakeDaemon, run_dir: Path) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    before = daemon.worker_pids()
    (run_dir / "mine.py").write_text("import os\n\nos._exit(0)\n", encoding="utf-8")
    refused = {
        "nope": "BTC/USDT: engine.strategy = 'nope': no built-in of that name",
        f"{FAULTS}:Nope": f"{FAULTS} has no class Nope",
        "mystrategie:Nope": "cannot import mystrategie",
        "mine:Mine": "ended with exit code 0",
    }
    for strategy, reason in refused.items():
        daemon.write_config(engine__strategy=strategy)
        with pytest.raises(ApiError, match=re.escape(reason)) as refusal:
            daemon.post("/daemon/reload")
        assert refusal.value.code == 400
    daemon.write_config(engine__strategy="sma_cross", **{"engine.strategy_options.fats": 3})
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    refusals = daemon.wait(lambda: daemon.events("reload_refused"), "the refusal to be logged")
    assert "fats" in refusals[0]["error"]
    assert not daemon.events("configuration_reloaded")
    assert daemon.worker_pids() == before
    assert sorted(process.pid for process in daemon.processes() if "check" in process.cmdline()) == []


@pytest.mark.long
def test_two_daemons_run_side_by_side(make_daemon: MakeDaemon, tmp_path: object) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    other = DaemonUnderTest(daemon.folder, symbols=["BTC/USDT"])
    other.data = daemon.folder / "other"
    other.api = type(other.api)(other.data / "run" / "api.sock")
    try:
        other.start(LEVIBOT_SUPERVISOR__DATA_DIR=str(other.data))
        assert other.status()["running"] == 1
        assert daemon.status()["running"] == 1
        assert psutil.pid_exists(daemon.engine()["pid"])
        assert other.engine()["pid"] != daemon.engine()["pid"]
        assert other.stop() == 0
    finally:
        if other.process is not None and other.process.poll() is None:
            other.process.kill()
            other.process.wait()


def assert_refused(daemon: DaemonUnderTest, path: str, code: int) -> None:
    with pytest.raises(ApiError) as refusal:
        daemon.post(path)
    assert refusal.value.code == code


def test_a_stop_while_the_daemon_is_still_loading_is_a_clean_stop_too(run_dir: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "levibot", "--no-table"], cwd=run_dir)
    try:
        wait_for(lambda: psutil.Process(process.pid).children(), "the forkserver, which is started first")
        process.terminate()
        assert process.wait(40) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
