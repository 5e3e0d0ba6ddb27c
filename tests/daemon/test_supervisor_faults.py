"""The fault table's rows about the supervisor, the forkserver and the machine. The number in a name is the row."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import levibot
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest, alive
from tests.deadline import wait_for

pytestmark = pytest.mark.unmeasured

LONG = {"engine.strategy": f"{FAULTS}:Long"}
BASES = (
    "BTC",
    "ETH",
    "SOL",
    "BNB",
    "XRP",
    "ADA",
    "DOGE",
    "LTC",
    "LINK",
    "AVAX",
    "DOT",
    "UNI",
    "ATOM",
    "ETC",
    "XLM",
)
FIFTEEN = [f"{base}/USDT" for base in BASES]


def with_positions(make_daemon: MakeDaemon, **settings: object) -> DaemonUnderTest:
    """A daemon with two engines that hold positions."""
    daemon = make_daemon(**LONG, **settings)
    daemon.start()
    daemon.wait(lambda: all(e["position"] for e in daemon.status()["engines"]), "positions", seconds=60)
    return daemon


def kill_engine(daemon: DaemonUnderTest) -> dict[str, Any]:
    """kill -9 BTC's engine; the entry of the process that took its place."""
    first = daemon.engine()["pid"]
    os.kill(first, signal.SIGKILL)
    return daemon.wait_replaced("engine-BTC-USDT", first)


def positions(daemon: DaemonUnderTest) -> dict[str, float]:
    return {engine["symbol"]: engine["position"] for engine in daemon.status()["engines"]}


def test_04_a_supervisor_that_stood_still_kills_nobody(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{f"policy.{kind}.hang_after": 4.0 for kind in ("engine", "feed", "broker")})
    daemon.start()
    before = daemon.worker_pids()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(5.0)  # the fault itself: longer than every worker's limit
    daemon.process.send_signal(signal.SIGCONT)
    start = time.monotonic()
    while time.monotonic() - start < 4.5:  # longer than any limit again
        assert daemon.worker_pids() == before
        time.sleep(0.2)
    assert not daemon.events("worker_condemned")


def test_13_14_workers_die_with_the_supervisor_and_come_back_once_each(make_daemon: MakeDaemon) -> None:
    daemon = with_positions(make_daemon)
    held, pids = positions(daemon), daemon.worker_pids()
    os.kill(pids["engine-ETH-USDT"], signal.SIGSTOP)  # even one that cannot run
    daemon.kill()
    wait_for(lambda: not any(map(alive, pids.values())), "every worker to be gone")
    daemon.start()
    assert positions(daemon) == held
    names = daemon.engine_processes()
    assert names == ["levi-BTC-USDT", "levi-ETH-USDT"]


def test_15_the_forkserver_dies_and_workers_trade_on(make_daemon: MakeDaemon) -> None:
    daemon = with_positions(make_daemon)
    before = daemon.worker_pids()
    os.kill(daemon.status()["daemon"]["forkserver_pid"], signal.SIGKILL)
    ticks = daemon.engine()["ticks"]
    daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 10, "more ticks")
    assert daemon.worker_pids() == before
    os.kill(before["engine-BTC-USDT"], signal.SIGKILL)  # its parent is gone, its death is noticed all the same
    daemon.wait_replaced("engine-BTC-USDT", before["engine-BTC-USDT"])
    after = daemon.worker_pids()
    assert {name for name in before if before[name] != after[name]} == {"engine-BTC-USDT"}


def test_17_a_full_disk_stops_no_supervision_and_breaks_no_file(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**LONG, **{"policy.engine.restart_delays": [0.0]})
    daemon.start()
    pids = daemon.worker_pids()
    registry = daemon.state / "registry.json"
    daemon.wait(lambda: registry.exists() and "running" in registry.read_text(encoding="utf-8"), "the registry")
    whole = registry.read_bytes()
    for pid in [daemon.status()["daemon"]["pid"], *pids.values()]:
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
    os.kill(pids["engine-BTC-USDT"], signal.SIGKILL)
    daemon.wait(
        lambda: daemon.engine()["pid"] not in (None, pids["engine-BTC-USDT"]), "the engine to be restarted"
    )
    daemon.wait(lambda: daemon.status()["daemon"]["refused_writes"] > 0, "refusals to be counted")
    assert daemon.engine("ETH/USDT")["pid"] == pids["engine-ETH-USDT"]
    assert registry.read_bytes() == whole
    supervisor = psutil.Process(daemon.status()["daemon"]["pid"])
    for process in [supervisor, *(psutil.Process(pid) for pid in daemon.worker_pids().values())]:
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    daemon.wait(lambda: registry.read_bytes() != whole, "the registry to be written when there is room")
    daemon.wait_ready()
    assert not list(daemon.state.glob("**/*corrupt*")), "a full disk is never called corrupt"


def test_22_a_corrupt_registry_is_set_aside_and_symbols_start_paused(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    daemon.stop()
    registry = daemon.state / "registry.json"
    registry.write_text('{"schema": 1, "workers": {"eng', encoding="utf-8")
    daemon.start()
    assert [engine["status"] for engine in daemon.status()["engines"]] == ["paused", "paused"]
    assert [alert["key"] for alert in daemon.status()["alerts"]] == ["registry_damaged"]
    assert list(daemon.state.glob("registry.json*corrupt*"))


def test_22_a_corrupt_ledger_is_rebuilt_from_the_broker(make_daemon: MakeDaemon) -> None:
    daemon = with_positions(make_daemon)
    held = positions(daemon)
    daemon.post("/engines/stop/BTC/USDT")
    ledger = daemon.state / "ledgers" / "BTC-USDT.sqlite"
    ledger.write_bytes(b"no database at all" * 1000)
    daemon.post("/engines/start/BTC/USDT")
    daemon.wait_ready("BTC/USDT")
    assert positions(daemon) == held
    assert "set aside" in daemon.engine()["ledger"]
    assert list(ledger.parent.glob("BTC-USDT.sqlite*corrupt*"))

    def is_told() -> bool:
        return "ledger_damaged:BTC/USDT" in [alert["key"] for alert in daemon.status()["alerts"]]

    daemon.wait(is_told, "the alert about it")


def test_a_ledger_of_a_newer_version_is_never_called_corrupt(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"policy.engine.restart_delays": [0.0, 60.0]})
    daemon.start()
    daemon.post("/engines/stop/BTC/USDT")
    ledger = daemon.state / "ledgers" / "BTC-USDT.sqlite"
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    daemon.post("/engines/start/BTC/USDT")
    daemon.wait(
        lambda: "newer" in f"{daemon.engine()['last_error']} {daemon.engine()['waiting_for']}".lower(),
        "the reason",
    )
    assert ledger.exists()
    assert not list(ledger.parent.glob("*corrupt*"))
    assert daemon.engine("ETH/USDT")["ready"]


def test_27_a_restarted_supervisor_gives_no_fresh_budget(make_daemon: MakeDaemon, switch: Path) -> None:
    options = {
        "symbols": ["BTC/USDT"],
        "engine.strategy": f"{FAULTS}:Quiet",
        "policy.engine.restart_delays": [0.0],
        "policy.engine.restart_budget": 5,
    }
    daemon = make_daemon(**options)
    daemon.start()
    for count in range(1, 5):
        assert kill_engine(daemon)["restarts"] == count
    daemon.kill()
    daemon.start()
    assert daemon.engine()["restarts_in_window"] == 4
    assert kill_engine(daemon)["restarts"] == 5
    os.kill(daemon.engine()["pid"], signal.SIGKILL)
    daemon.wait(lambda: daemon.engine()["status"] == "exhausted", "the end of the budget")


def test_29_all_engines_die_together(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=FIFTEEN)
    daemon.start()
    first = daemon.worker_pids()
    for engine in daemon.status()["engines"]:
        os.kill(engine["pid"], signal.SIGKILL)
    in_flight: list[int] = []

    def all_back() -> bool:
        status = daemon.status()
        in_flight.append(sum(bool(e["pid"]) and e["status"] == "starting" and e["state"] == "starting"
                             for e in status["engines"]))  # fmt: skip
        return all(e["ready"] and e["pid"] != first[e["worker"]] for e in status["engines"])

    daemon.wait(all_back, "all engines to be back", seconds=60)
    assert max(in_flight) <= 4
    assert [alert["key"] for alert in daemon.status()["alerts"]] == ["crash_storm"]
    assert len(daemon.events("alert_raised")) == 1


@pytest.mark.long
def test_30_a_stopped_forkserver_is_replaced(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"policy.engine.start_timeout": 2.0, "policy.engine.restart_delays": [0.0]})
    daemon.start()
    before = daemon.worker_pids()
    os.kill(daemon.status()["daemon"]["forkserver_pid"], signal.SIGSTOP)
    os.kill(before["engine-BTC-USDT"], signal.SIGKILL)
    daemon.wait_replaced("engine-BTC-USDT", before["engine-BTC-USDT"])
    assert daemon.events("forkserver_replaced")
    names = daemon.engine_processes()
    assert names == ["levi-BTC-USDT", "levi-ETH-USDT"]
    assert daemon.worker_pids()["engine-ETH-USDT"] == before["engine-ETH-USDT"]


@pytest.mark.parametrize("kind", [pytest.param("feed", marks=pytest.mark.long), "broker"])
def test_a_dead_feed_or_broker_is_no_engines_failure(make_daemon: MakeDaemon, kind: str) -> None:
    # The first restart would be over before it is seen: let one have been made, so that the next has to wait.
    daemon = with_positions(make_daemon, **{f"policy.{kind}.restart_delays": [0.0, 1.5]})
    first = daemon.worker(kind)["pid"]
    os.kill(first, signal.SIGKILL)
    daemon.wait_replaced(kind, first)
    daemon.wait_ready()
    before, held = daemon.worker_pids(), positions(daemon)
    os.kill(before[kind], signal.SIGKILL)
    daemon.wait(lambda: daemon.worker(kind)["pid"] is None, f"the death of {kind}")
    engine = daemon.engine()
    assert (engine["status"], engine["ready"], engine["waiting_for"]) == ("running", False, kind)
    daemon.wait_replaced(kind, before[kind])
    ticks = daemon.engine()["ticks"]
    daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 10, "ticks to flow")
    after = daemon.worker_pids()
    assert {name for name in before if before[name] != after[name]} == {kind}
    assert all(not engine["restarts"] for engine in daemon.status()["engines"])
    assert positions(daemon) == held or daemon.events("order_filled", worker="engine-*")


def test_a_feed_that_keeps_dying_takes_the_portfolio_to_reducing(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"policy.feed.restart_delays": [0.0], "policy.feed.restart_alert": 2})
    daemon.start()
    for count in range(1, 4):
        first = daemon.worker("feed")["pid"]
        os.kill(first, signal.SIGKILL)
        assert daemon.wait_replaced("feed", first)["restarts"] == count
    status = daemon.status()
    assert status["daemon"]["risk_state"] == "REDUCING"
    assert "feed" in status["daemon"]["risk_reason"]
    assert "unstable:feed" in [alert["key"] for alert in status["alerts"]]


def test_changed_code_starts_no_worker_of_a_second_version(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT", "ETH/USDT"])
    source = Path(levibot.__file__).parent.parent
    copy = daemon.folder / "code"
    for package in ("levibot", "workers"):
        shutil.copytree(source / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    daemon.start(cwd=copy)
    first = daemon.worker_pids()
    (copy / "levibot" / "clock.py").write_text((copy / "levibot" / "clock.py").read_text("utf-8") + "\n", "utf-8")
    daemon.wait(lambda: daemon.status()["daemon"]["code_changed"], "the change to be noticed")
    os.kill(first["engine-BTC-USDT"], signal.SIGKILL)
    daemon.wait(lambda: "upgrade" in daemon.engine()["detail"], "the refusal")
    assert daemon.engine()["status"] == "crashed"
    assert daemon.engine("ETH/USDT")["pid"] == first["engine-ETH-USDT"]
    supervisor = daemon.status()["daemon"]["pid"]
    daemon.post("/daemon/upgrade")
    wait_for(lambda: not alive(first["engine-ETH-USDT"]), "the old engines to go")
    wait_for(lambda: _answers(daemon), "the new daemon to answer", seconds=60)
    daemon.wait_ready()
    assert daemon.status()["daemon"]["pid"] == supervisor, "the same process for systemd"
    assert not daemon.status()["daemon"]["code_changed"]
    assert daemon.stop() == 0


def _answers(daemon: DaemonUnderTest) -> bool:
    try:
        return not daemon.status()["daemon"]["shutting_down"]
    except Exception:  # noqa: BLE001 -- in between nobody listens, in several ways
        return False
