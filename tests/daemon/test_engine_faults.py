"""The fault table's rows about one worker. The number in a name is the row.

Two engines run: BTC/USDT has the fault, ETH/USDT must not notice.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest, alive
from tests.deadline import wait_for

pytestmark = pytest.mark.unmeasured

BTC = 'overrides."BTC/USDT".'
AT_ONCE = {"policy.engine.restart_delays": [0.0, 0.05], "policy.engine.restart_budget": 0}


def faulty(make_daemon: MakeDaemon, strategy: str, switch: Path, **settings: Any) -> DaemonUnderTest:
    """A daemon whose BTC engine runs a strategy that misbehaves while `switch` exists."""
    options = {f"{BTC}strategy": f"{FAULTS}:{strategy}", f"{BTC}strategy_options.switch": str(switch)}
    return make_daemon(**options, **settings)


def bystander_is_unharmed(daemon: DaemonUnderTest, pid: int) -> None:
    other = daemon.engine("ETH/USDT")
    assert (other["pid"], other["restarts"], other["ready"]) == (pid, 0, True)


def replaced(daemon: DaemonUnderTest, first: int, cause: str, seconds: float = 60.0) -> dict[str, Any]:
    """BTC's entry once a second process of it is ready, restarted for `cause`."""

    def is_back() -> dict[str, Any] | None:
        engine = daemon.engine()
        return engine if engine["ready"] and engine["pid"] != first else None

    engine: dict[str, Any] = daemon.wait(is_back, "BTC to be ready again", seconds=seconds)
    assert engine["restart_causes"].get(cause), engine["restart_causes"]
    assert not alive(first)
    return engine


def test_01_a_killed_engine_is_back_with_its_position(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "Long", switch)
    daemon.start()
    daemon.wait(lambda: daemon.engine()["position"], "a position", seconds=60)
    before, other = daemon.engine(), daemon.engine("ETH/USDT")["pid"]
    os.kill(before["pid"], signal.SIGKILL)
    after = replaced(daemon, before["pid"], "crash")
    assert after["position"] == before["position"]
    assert after["entry_price"] == before["entry_price"]
    assert after["trade_count"] == before["trade_count"]
    bystander_is_unharmed(daemon, other)


def test_02_a_stopped_engine_is_seen_as_hung(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "Quiet", switch, **{"policy.engine.hang_after": 4.0})
    daemon.start()
    first, other = daemon.engine()["pid"], daemon.engine("ETH/USDT")["pid"]
    os.kill(first, signal.SIGSTOP)
    replaced(daemon, first, "hang")
    assert "stopped" in daemon.events("worker_condemned")[0]["reason"]
    bystander_is_unharmed(daemon, other)


@pytest.mark.parametrize("strategy", ["Hangs", "HangsBesideAThread"])
def test_03_a_trading_loop_that_hangs_is_replaced_and_leaves_its_stack(
    make_daemon: MakeDaemon, switch: Path, strategy: str
) -> None:
    daemon = faulty(make_daemon, strategy, switch, **{"policy.engine.hang_after": 4.0})
    daemon.start()
    first, other = daemon.engine()["pid"], daemon.engine("ETH/USDT")["pid"]
    switch.touch()
    daemon.wait(lambda: daemon.events("worker_condemned"), "the hang to be seen", seconds=60)
    switch.unlink()
    replaced(daemon, first, "hang")
    stack = (daemon.data / "logs" / "engine-BTC-USDT.stack").read_text(encoding="utf-8")
    assert "strategies.py" in stack, "the dump shows where it hung"
    bystander_is_unharmed(daemon, other)


def test_05_a_worker_that_does_not_listen_is_killed_after_the_grace_period(
    make_daemon: MakeDaemon, switch: Path
) -> None:
    limits = {"policy.engine.hang_after": 60.0, "policy.engine.stop_grace": 2.0}
    daemon = faulty(make_daemon, "IgnoresSignals", switch, **limits)
    daemon.start()
    pid = daemon.engine()["pid"]
    switch.touch()
    daemon.wait(lambda: is_deaf(daemon), "the engine to spin")
    daemon.post("/engines/stop/BTC/USDT")
    assert daemon.engine()["status"] == "stopped"
    assert not alive(pid)
    assert daemon.events("stop_escalated")


@pytest.mark.parametrize("strategy", ["DiesAtOnce", "DiesWhenReady"])
def test_06_07_a_worker_that_always_dies_spends_its_budget_and_no_more(
    make_daemon: MakeDaemon, switch: Path, strategy: str
) -> None:
    quick = {"policy.engine.restart_delays": [0.0, 0.05], "policy.engine.restart_budget": 5}
    daemon = faulty(make_daemon, strategy, switch, **quick)
    daemon.start()
    other = daemon.engine("ETH/USDT")["pid"]
    switch.touch()
    os.kill(daemon.engine()["pid"], signal.SIGKILL)
    daemon.wait(lambda: daemon.engine()["status"] == "exhausted", "the budget to be spent", seconds=60)
    engine = daemon.engine()
    assert engine["restarts"] == 5
    assert engine["next_attempt_at"] > time.time() + 3000, "the first restart leaves the hour only then"
    assert [alert["key"] for alert in daemon.status()["alerts"]] == ["exhausted:engine-BTC-USDT"]
    assert daemon.status()["crashed"] == 1
    bystander_is_unharmed(daemon, other)
    switch.unlink()
    daemon.post("/engines/reset/BTC/USDT")
    daemon.wait_ready("BTC/USDT")
    assert not [a for a in daemon.status()["alerts"] if a["key"].startswith("exhausted")]


def test_08_a_slow_start_has_its_own_deadline(make_daemon: MakeDaemon, switch: Path) -> None:
    limits = {"policy.engine.start_timeout": 4.0, "policy.engine.hang_after": 4.0, **AT_ONCE}
    daemon = faulty(make_daemon, "StartsSlowly", switch, **limits)
    switch.touch()
    daemon.start(ready=False)
    daemon.wait(lambda: daemon.engine()["restart_causes"], "a slow start to be given up", seconds=60)
    switch.unlink()
    daemon.wait_ready()
    assert set(daemon.engine()["restart_causes"]) <= {"start", "hang"}


def test_09_a_tree_that_ignores_sigterm_is_gone_after_a_stop(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "ForksATree", switch, **{"policy.engine.stop_grace": 2.0})
    daemon.start()
    tree = daemon.wait(
        lambda: [p for p in daemon.processes() if "os.fork()" in " ".join(p.cmdline())][3:], "the tree to grow"
    )
    assert tree
    daemon.post("/engines/stop/BTC/USDT")
    daemon.wait(
        lambda: not [p for p in daemon.processes() if "os.fork()" in " ".join(_cmdline(p))],
        "the tree to be felled",
    )
    assert daemon.engine("ETH/USDT")["ready"]


def test_10_a_flood_of_output_leaves_the_supervisor_responsive(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "Floods", switch)
    daemon.start()
    first = daemon.engine()["pid"]
    switch.touch()
    flooded = daemon.wait(
        lambda: daemon.events("output_suppressed", worker="engine-BTC-USDT"), "the flood to be dammed"
    )
    assert flooded[0]["lines"] > 1000
    supervisor = psutil.Process(daemon.status()["daemon"]["pid"])
    daemon.wait(lambda: supervisor.cpu_percent(1.0) < 50, "a supervisor with time for others")
    assert daemon.engine()["pid"] == first
    size = sum(path.stat().st_size for path in (daemon.data / "logs").iterdir())
    assert size < 5_000_000
    assert daemon.output().count("flood") == 0


def test_11_leaking_descriptors_raise_an_alarm_and_recycle_the_worker(
    make_daemon: MakeDaemon, switch: Path
) -> None:
    daemon = faulty(make_daemon, "LeaksDescriptors", switch, **{"policy.engine.max_descriptors": 200})
    daemon.start()
    first = daemon.engine()["pid"]
    switch.touch()
    daemon.wait(
        lambda: [a for a in daemon.status()["alerts"] if a["key"] == "descriptors:engine-BTC-USDT"], "the alarm"
    )
    switch.unlink()
    replaced(daemon, first, "descriptors")


def test_12_growing_memory_recycles_the_worker(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "LeaksMemory", switch, **{"policy.engine.max_memory_mb": 150.0})
    daemon.start()
    first = daemon.engine()["pid"]
    switch.touch()
    daemon.wait(lambda: daemon.events("worker_condemned"), "the limit to be noticed", seconds=60)
    switch.unlink()
    after = replaced(daemon, first, "memory")
    assert after["restart_causes"] == {"memory": 1}


@pytest.mark.parametrize(
    ("strategy", "said"), [("Raises", 'a "quoted" fault'), ("Nonsense", "probability is nan")]
)
def test_a_strategy_that_raises_or_talks_nonsense_is_its_engines_trouble_alone(
    make_daemon: MakeDaemon, switch: Path, strategy: str, said: str
) -> None:
    daemon = faulty(make_daemon, strategy, switch, **{"policy.engine.error_spike": 1_000_000})
    daemon.start()
    first, other = daemon.engine()["pid"], daemon.engine("ETH/USDT")["pid"]
    switch.touch()
    daemon.wait(lambda: daemon.engine()["error_count"] > 3, "errors to be counted")
    switch.unlink()
    assert said in daemon.engine()["last_error"]
    assert daemon.engine()["pid"] == first, "it goes on"
    bystander_is_unharmed(daemon, other)
    assert daemon.engine("ETH/USDT")["error_count"] == 0


def test_an_error_spike_restarts_the_engine(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "Raises", switch)
    daemon.start()
    first = daemon.engine()["pid"]
    switch.touch()
    daemon.wait(lambda: daemon.events("worker_condemned"), "the spike to be seen")
    switch.unlink()
    last_error = replaced(daemon, first, "errors")["last_error"]
    assert last_error.startswith("strategy_failed: ")
    assert "errors in" in last_error


def test_18_a_removed_log_directory_is_made_again(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "Raises", switch)
    daemon.start()
    logs = daemon.data / "logs"
    for path in logs.iterdir():
        path.unlink()
    logs.rmdir()
    switch.touch()
    wait_for(lambda: list(logs.glob("engine-BTC-USDT-*.jsonl")), "the log to be back")
    switch.unlink()
    for line in next(logs.glob("engine-BTC-USDT-*.jsonl")).read_text(encoding="utf-8").splitlines():
        json.loads(line)


def test_25_a_stop_during_backoff_cancels_the_restart(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "DiesAtOnce", switch, **{"policy.engine.restart_delays": [0.0, 1.0]})
    daemon.start()
    switch.touch()
    os.kill(daemon.engine()["pid"], signal.SIGKILL)
    daemon.wait(lambda: is_waiting(daemon.engine()), "backoff")
    daemon.post("/engines/stop/BTC/USDT")
    switch.unlink()
    spawned = len(daemon.events("worker_spawned"))
    deadline = time.monotonic() + 2.5  # longer than the delay that was under way
    while time.monotonic() < deadline:
        engine = daemon.engine()
        assert (engine["status"], engine["next_attempt_at"]) == ("stopped", None)
        time.sleep(0.1)
    assert len(daemon.events("worker_spawned")) == spawned


def test_26_a_symbol_removed_during_backoff_does_not_rise_again(make_daemon: MakeDaemon, switch: Path) -> None:
    daemon = faulty(make_daemon, "DiesAtOnce", switch, **{"policy.engine.restart_delays": [0.0, 1.0]})
    daemon.start()
    switch.touch()
    os.kill(daemon.engine()["pid"], signal.SIGKILL)
    daemon.wait(lambda: is_waiting(daemon.engine()), "backoff")
    daemon.post("/engines/remove/BTC/USDT")
    switch.unlink()
    spawned = len(daemon.events("worker_spawned"))
    deadline = time.monotonic() + 2.5  # longer than the delay that was under way
    while time.monotonic() < deadline:
        assert [e["symbol"] for e in daemon.status()["engines"]] == ["ETH/USDT"]
        time.sleep(0.1)
    assert len(daemon.events("worker_spawned")) == spawned


def is_waiting(engine: dict[str, Any]) -> bool:
    """Whether it has crashed and waits for its next start."""
    return engine["status"] == "crashed" and bool(engine["next_attempt_at"])


def is_deaf(daemon: DaemonUnderTest) -> bool:
    """Whether nothing has been heard of BTC's engine for two seconds, in which it beats twenty times."""
    heard = daemon.engine()["last_heartbeat"]
    return heard is not None and time.time() - heard > 2.0


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
