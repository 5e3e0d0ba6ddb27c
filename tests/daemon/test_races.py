"""Commands, signals and deaths that come at the wrong moment."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from levibot.api.client import ApiError, NotRunningError
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest, alive
from tests.deadline import wait_for

pytestmark = pytest.mark.unmeasured

AT_ONCE = {"policy.engine.restart_delays": [0.0], "policy.engine.restart_budget": 0}
SIX = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA")]


def in_parallel(daemon: DaemonUnderTest, *paths: str) -> list[str]:
    """What became of commands sent at the same time: ok, or the refusal."""
    outcomes = dict.fromkeys(paths, "")

    def send(path: str) -> None:
        try:
            daemon.post(path)
            outcomes[path] = "ok"
        except ApiError as error:
            outcomes[path] = f"{error.code} {error}"

    threads = [threading.Thread(target=send, args=[path]) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(outcomes.values())


def test_a_stopped_forkserver_costs_one_start_and_no_engine_is_doubled(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=SIX, **{"policy.engine.start_timeout": 8.0, **AT_ONCE})
    daemon.start()
    before = daemon.worker_pids()
    os.kill(daemon.status()["daemon"]["forkserver_pid"], signal.SIGSTOP)
    for name, pid in before.items():
        if name.startswith("engine-"):
            os.kill(pid, signal.SIGKILL)
    daemon.wait(
        lambda: all(e["ready"] and e["pid"] != before[e["worker"]] for e in daemon.status()["engines"]),
        "all engines to be back",
        seconds=60,
    )
    assert len(daemon.events("forkserver_replaced")) == 1
    assert len(daemon.engine_processes()) == 6


@pytest.mark.long
def test_a_stopped_forkserver_does_not_hold_up_a_clean_stop(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"policy.engine.stop_grace": 2.0})
    daemon.start()
    os.kill(daemon.status()["daemon"]["forkserver_pid"], signal.SIGSTOP)
    os.kill(daemon.engine()["pid"], signal.SIGKILL)
    daemon.wait(lambda: daemon.engine()["state"] == "starting", "a start that nobody serves")
    start = time.monotonic()
    assert daemon.stop(seconds=25) == 0
    assert time.monotonic() - start < 10, "the grace of 2 s, and not the 30 s of a start"
    assert daemon.processes() == []


@pytest.mark.long
def test_a_symbol_removed_while_it_is_restarted_stays_gone(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    paths = ("/engines/remove/BTC/USDT?keep=true", "/engines/restart/BTC/USDT", "/engines/start/BTC/USDT")
    in_parallel(daemon, *paths, "/engines/remove/BTCUSDT?keep=true")
    daemon.wait(lambda: len(daemon.status()["engines"]) == 1, "BTC to be gone")
    deadline = time.monotonic() + 1.0  # longer than a start takes
    while time.monotonic() < deadline:
        assert daemon.engine_processes() == ["levi-ETH-USDT"]
        time.sleep(0.1)
    assert daemon.status()["daemon"]["errors"] == {}
    daemon.post("/engines/add/BTC/USDT")
    daemon.wait_ready("BTC/USDT")


def test_commands_of_every_kind_at_once_leave_one_process_for_each_symbol(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    for _ in range(5):
        in_parallel(
            daemon,
            *(f"/engines/{verb}/BTC/USDT" for verb in ("stop", "start", "restart", "reset", "pause", "resume")),
            "/daemon/reload",
        )
        if pid := daemon.engine("ETH/USDT")["pid"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        in_parallel(daemon, "/engines/start/BTC/USDT", "/engines/reset/ETH/USDT")
    # A killed engine counts as ready until its end is noticed.
    daemon.wait(lambda: daemon.engine_processes() == ["levi-BTC-USDT", "levi-ETH-USDT"], "one process for each")
    daemon.wait_ready()
    assert daemon.status()["daemon"]["errors"] == {}


def test_a_stop_under_a_reload_leaves_nothing(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(engine__strategy=f"{FAULTS}:Quiet")  # a position would refuse the reload
    daemon.start()
    assert daemon.process is not None
    daemon.write_config(symbols=["SOL/USDT", "ADA/USDT"])
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: daemon.events("worker_exited"), "the reload to begin")
    daemon.process.send_signal(signal.SIGTERM)
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    assert daemon.stop() == 0
    assert daemon.processes() == []
    assert not daemon.events("error_survived")
    assert "Traceback" not in daemon.output()


@pytest.mark.long
def test_a_reset_forgives_errors_and_restarts_nobody(make_daemon: MakeDaemon, switch: Path) -> None:
    btc = 'overrides."BTC/USDT".'
    options = {f"{btc}strategy": f"{FAULTS}:Raises", f"{btc}strategy_options.switch": str(switch)}
    daemon = make_daemon(**options, **{"policy.engine.error_spike": 20, "policy.engine.error_window": 0.5})
    daemon.start()
    first = daemon.engine()["pid"]
    switch.touch()
    daemon.wait(lambda: daemon.engine()["error_count"] > 30, "errors")
    switch.unlink()
    daemon.post("/engines/reset/BTC/USDT")
    beat = daemon.engine()["last_heartbeat"]
    daemon.wait(lambda: daemon.engine()["last_heartbeat"] > beat + 1.0, "more heartbeats")
    assert (daemon.engine()["pid"], daemon.engine()["restart_causes"]) == (first, {})


def test_a_position_of_a_removed_symbol_has_prices_after_a_restart_too(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"engine.strategy": f"{FAULTS}:Long"})
    daemon.start()
    daemon.wait(lambda: all(e["position"] for e in daemon.status()["engines"]), "positions", seconds=60)
    daemon.kill()
    daemon.write_config(symbols=["ETH/USDT"])
    daemon.start()

    def is_priced() -> bool:
        status = daemon.status()["daemon"]
        return bool(status["risk_state"] == "ACTIVE")

    daemon.wait(is_priced, "a price of BTC/USDT, and with it an equity")
    assert [e["symbol"] for e in daemon.status()["engines"]] == ["ETH/USDT"]


@pytest.mark.long
def test_a_hangup_of_workers_and_forkserver_means_nothing_to_them(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    before = daemon.worker_pids()
    for pid in [*before.values(), daemon.status()["daemon"]["forkserver_pid"]]:
        os.kill(pid, signal.SIGHUP)
    ticks = daemon.engine()["ticks"]
    daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 20, "ticks")
    assert daemon.worker_pids() == before


def test_a_daemon_whose_terminal_is_closed_stops(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.execv(sys.executable, [sys.executable, "-m", "levibot", "-c", str(daemon.config), "--table"])
    try:
        wait_for(lambda: _running(daemon) == 2, "engines to run, though nobody reads the terminal", seconds=60)
    finally:
        os.close(terminal)
    wait_for(lambda: not alive(pid), "the daemon to end", seconds=60)
    assert os.waitpid(pid, 0)[1] == 0
    assert daemon.events("daemon_stopping")[0]["reason"] == "the terminal was closed"


@pytest.mark.long
def test_a_hundred_restarts_take_no_descriptor_and_no_memory(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**AT_ONCE)
    daemon.start()
    supervisor = psutil.Process(daemon.status()["daemon"]["pid"])

    def restart(times: int) -> tuple[int, int]:
        for _ in range(times):
            pid = daemon.engine()["pid"]
            os.kill(pid, signal.SIGKILL)
            daemon.wait(
                lambda pid=pid: (
                    daemon.engine()["pid"] not in (None, pid) and daemon.engine()["state"] == "running"
                ),
                "the next process",
            )
        daemon.wait_ready()
        return supervisor.num_fds(), supervisor.memory_full_info().uss

    descriptors, memory = restart(20)
    more_descriptors, more_memory = restart(100)
    assert more_descriptors <= descriptors + 2
    assert more_memory < memory + 2_000_000


def _running(daemon: DaemonUnderTest) -> int:
    try:
        return int(daemon.status()["running"])
    except NotRunningError:
        return 0
