"""The soak: what it finds, and that it finds nothing where nothing is wrong."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from scripts.soak.verdict import Limits, Verdict, judge
from scripts.soak.watch import Track, Watch, _shuffled_for_ever, robust_slope
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest


def soak(daemon: DaemonUnderTest, *arguments: str) -> tuple[int, dict[str, Any], str]:
    result = daemon.folder / "soak.json"
    done = subprocess.run(
        [sys.executable, "-m", "scripts.soak_test", "-c", daemon.config, "--json", result, *arguments],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(result.read_text(encoding="utf-8")), done.stdout


def met(result: dict[str, Any]) -> dict[str, bool]:
    return {verdict["what"]: verdict["met"] for verdict in result["verdicts"]}


@pytest.mark.long
def test_kills_of_its_own_are_explained_and_the_budget_is_given_back(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    code, result, said = soak(daemon, "--seconds", "11", "--kill-every", "2", "--seed", "3", "--uptime", "0.5")
    assert (code, result["passed"]) == (0, True), said
    assert len(result["killed"]) == 2
    for name in result["killed"]:
        assert result["workers"][name]["restarts"] == result["workers"][name]["kills"] == 1
    assert {engine["restarts_in_window"] for engine in daemon.status()["engines"]} == {0}
    assert re.search(r"1\d\.\d s: \d of 4 workers ready, \d restarts, [12] kills, 0 errors", said), "told at times"


@pytest.mark.long
def test_a_death_that_nobody_explains_and_the_time_it_took_are_found(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**{"policy.engine.restart_delays": [0.0, 2.0]})
    daemon.start()
    command = [sys.executable, "-m", "scripts.soak_test", "-c", daemon.config, "--seconds", "8"]
    result = daemon.folder / "soak.json"
    watcher = subprocess.Popen([*command, "--json", result], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert "watching" in watcher.stdout.readline()
    for _ in range(2):  # the first restart comes at once, the second after two seconds
        pid = daemon.engine()["pid"]
        os.kill(pid, signal.SIGKILL)
        daemon.wait_replaced("engine-BTC-USDT", pid)
    watcher.communicate(timeout=90)
    assert watcher.returncode == 1
    verdicts = met(json.loads(result.read_text(encoding="utf-8")))
    assert not verdicts["restarts that nobody made"]
    assert not verdicts["uptime of the worst engine"]


@pytest.mark.long
def test_a_daemon_that_goes_away_is_found(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    result = daemon.folder / "soak.json"
    command = [sys.executable, "-m", "scripts.soak_test", "-c", daemon.config, "--seconds", "6", "--json", result]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert "watching" in watcher.stdout.readline()
    daemon.stop()
    watcher.communicate(timeout=90)
    assert watcher.returncode == 1
    assert not met(json.loads(result.read_text(encoding="utf-8")))["daemon"]


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "worker": "engine-A", "kind": "engine", "state": "running", "ready": True, "restarts": 0, "error_count": 0,
        "ready_seconds": 0.0, "down_seconds": 0.0, "last_error": "", "incarnation": 1, "pid": 1,
        "uss_bytes": None, "uptime_seconds": 0.0, **changes,
    }  # fmt: skip


def judged(track: Track) -> dict[str, bool]:
    return {verdict.what: verdict.met for verdict in verdicts_on({"engine-A": track})}


def verdicts_on(tracks: dict[str, Track]) -> list[Verdict]:
    watch = Watch.__new__(Watch)
    watch.tracks, watch.problems = tracks, []
    return judge(watch, Limits())


def test_each_fault_misses_its_own_limit() -> None:
    sound = Track(entry(), entry(ready_seconds=999.5, down_seconds=0.5, restarts=1), kills=1)
    assert all(judged(sound).values())
    leak = [(20.0 + second, 10**7 + 2000 * second) for second in range(0, 600, 10)]
    for what, track in {
        "restarts that nobody made": Track(entry(), entry(ready_seconds=1.0, restarts=2), kills=1),
        "errors that follow no kill": Track(entry(), entry(ready_seconds=1.0), errors=3, explained_errors=2),
        "uptime of the worst engine": Track(entry(), entry(ready_seconds=99.8, down_seconds=0.2)),
        "not ready at the end": Track(entry(), entry(ready_seconds=1.0, ready=False)),
        "steepest growth of unique memory": Track(entry(), entry(ready_seconds=1.0), memory={(1, 0): leak}),
    }.items():
        assert [name for name, ok in judged(track).items() if not ok] == [what]


def test_a_restart_after_a_kill_fails_no_short_run_and_a_slow_return_does() -> None:
    what = "uptime of the worst engine"
    assert judged(Track(entry(), entry(ready_seconds=59.92, down_seconds=0.08, restarts=1), kills=1))[what]
    assert not judged(Track(entry(), entry(ready_seconds=56.0, down_seconds=4.0, restarts=1), kills=1))[what]
    assert not judged(Track(entry(), entry(ready_seconds=59.92, down_seconds=0.08)))[what], "nobody killed it"
    assert not judged(Track(entry(), entry(ready_seconds=599.0, down_seconds=1.0, restarts=1), kills=1))[what]
    killed = Track(entry(), entry(ready_seconds=59.92, down_seconds=0.08, restarts=1), kills=1)
    verdicts = verdicts_on({"engine-A": killed, "engine-B": Track(entry(), entry(ready_seconds=60.0))})
    (uptime,) = (verdict for verdict in verdicts if verdict.what == what)
    assert "engine-A, down 0.08 s" in uptime.value, "excused, but not hidden"
    assert uptime.limit == "≥ 99.9% but for 2 s: 2 a kill, under 10 min per kill"


def pool_run(swap_at: int, *, step: int, leak: int = 0) -> Track:
    """A pool process over two minutes that takes another model."""
    watch = Watch.__new__(Watch)
    watch.tracks, watch._last_kill = {}, float("-inf")
    for second in range(120):
        swapped = second >= swap_at
        one = entry(
            worker="inference-0", kind="inference", model="m/2" if swapped else "m/1", ready_seconds=float(second),
            uptime_seconds=300.0 + second, uss_bytes=40_000_000 + step * swapped + leak * second,
        )  # fmt: skip
        watch._take({"engines": [], "workers": [one]}, float(second))
    return watch.tracks["inference-0"]


def test_another_model_has_another_size_and_that_is_no_leak() -> None:
    what = "steepest growth of unique memory"
    swapped = pool_run(60, step=8_000_000)
    assert swapped.loads == 1
    assert swapped.load_steps == [8_000_000]
    assert judged(swapped)[what]
    assert not judged(pool_run(60, step=8_000_000, leak=20_000))[what], "a leak is found all the same"


def test_the_slope_bears_outliers_and_knows_no_slope_between_two_processes() -> None:
    chance = random.Random(1)
    steady = [(float(s), 1e7 + chance.gauss(0, 1e5)) for s in range(100)]
    steady[50] = (50.0, 9e7)
    assert abs(robust_slope([steady])) < 2e3
    second = [(float(s), 5e7) for s in range(100)]
    assert abs(robust_slope([steady, second])) < 2e3
    assert abs(robust_slope([[(float(s), 3.0 * s) for s in range(50)]]) - 3.0) < 1e-9


def test_everybody_is_chosen_once_before_anybody_twice() -> None:
    choose = _shuffled_for_ever(random.Random(2))
    names = ["a", "b", "c", "d"]
    assert sorted(choose(names) for _ in names) == names
    assert choose(["b"]) == "b"
