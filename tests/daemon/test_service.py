"""The daemon as a service: what systemd hears of it, and what it does to it."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest, alive
from tests.deadline import wait_for
from tests.notify_socket import NotifySocket, listening

pytestmark = pytest.mark.unmeasured

WATCHDOG_SECONDS = 2.0


@pytest.fixture
def systemd(run_dir: Path) -> Iterator[NotifySocket]:
    with listening(str(run_dir / "notify")) as socket:
        yield socket


def start(daemon: DaemonUnderTest, systemd: NotifySocket, **environ: str) -> None:
    usec = f"{WATCHDOG_SECONDS * 1e6:.0f}"
    daemon.start(NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC=usec, **environ)


def test_a_service_tells_its_whole_life_and_nobody_speaks_for_it(
    make_daemon: MakeDaemon, systemd: NotifySocket
) -> None:
    daemon = make_daemon()
    start(daemon, systemd)
    wait_for(lambda: systemd.newest("STATUS=") == "2 of 2 engines ready, risk ACTIVE", "the status")
    assert systemd.lines.count("READY=1") == 1
    begun = time.monotonic()
    wait_for(lambda: len(systemd.times("WATCHDOG=1", begun)) > 4, "signs of life")
    signs = systemd.times("WATCHDOG=1", begun)
    assert max(b - a for a, b in itertools.pairwise(signs)) < WATCHDOG_SECONDS
    for process in daemon.processes():
        inherited = process.environ() if process.pid != daemon.status()["daemon"]["pid"] else {}
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & inherited.keys(), process.name()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: systemd.lines.count("READY=1") == 2, "READY after the reload")
    assert "RELOADING=1" in systemd.lines
    assert daemon.stop() == 0
    assert "STOPPING=1" in systemd.lines
    assert int(systemd.newest("EXTEND_TIMEOUT_USEC=")) >= 4_000_000
    assert systemd.senders == {daemon.process.pid}


def test_ready_means_that_the_api_answers_and_engines_are_on_their_way(
    make_daemon: MakeDaemon, systemd: NotifySocket
) -> None:
    daemon = make_daemon()
    seen: list[set[str]] = []

    def look(line: str) -> None:
        if line == "READY=1":
            seen.append({engine["state"] for engine in daemon.status()["engines"]})

    systemd.heard = look
    start(daemon, systemd)
    wait_for(lambda: seen, "READY")
    assert seen[0] <= {"starting", "running"}


def test_a_supervisor_that_stands_still_gives_no_sign_of_life(
    make_daemon: MakeDaemon, systemd: NotifySocket
) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    start(daemon, systemd)
    wait_for(lambda: systemd.times("WATCHDOG=1"), "a sign of life")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic() + 0.2
    time.sleep(2 * WATCHDOG_SECONDS)
    assert not systemd.times("WATCHDOG=1", stopped), "the time is up: systemd would end it"
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(lambda: systemd.times("WATCHDOG=1", stopped + 2 * WATCHDOG_SECONDS - 0.2), "life again")


def test_the_watchdogs_signal_leaves_no_orphan(make_daemon: MakeDaemon, systemd: NotifySocket) -> None:
    daemon = make_daemon()
    start(daemon, systemd)
    pids = daemon.worker_pids().values()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGABRT)  # WatchdogSignal
    assert daemon.process.wait(40) == -signal.SIGABRT, "a failure, so that Restart=on-failure holds"
    wait_for(lambda: not [pid for pid in pids if alive(pid)], "all workers to be gone")


def test_sigterm_to_the_whole_control_group_is_one_clean_stop(
    make_daemon: MakeDaemon, systemd: NotifySocket
) -> None:
    daemon = make_daemon()
    start(daemon, systemd)
    group = daemon.processes()
    assert len(group) >= 6  # supervisor, forkserver, feed, broker, two engines
    for process in reversed(group):  # KillMode=control-group; the supervisor last, for it ends the others
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    assert daemon.process is not None
    assert daemon.process.wait(40) == 0
    psutil.wait_procs(group, timeout=30)
    assert daemon.processes() == []
    assert len(daemon.events("daemon_stopped")) == 1
    assert not daemon.events("worker_condemned")
    for worker in ("feed", "broker", "engine-BTC-USDT", "engine-ETH-USDT"):
        assert daemon.events("worker_stopped", worker), f"{worker} did not end by itself"


@pytest.mark.long
def test_an_upgrade_is_told_as_a_reload_of_the_same_process(
    make_daemon: MakeDaemon, systemd: NotifySocket
) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    start(daemon, systemd)
    first = daemon.status()["daemon"]
    daemon.post("/daemon/upgrade")
    wait_for(lambda: systemd.lines.count("READY=1") == 2, "READY of the new daemon", seconds=60)
    daemon.wait_ready()
    assert daemon.status()["daemon"]["pid"] == first["pid"]
    assert "STOPPING=1" not in systemd.lines
    since = time.monotonic()
    wait_for(lambda: systemd.times("WATCHDOG=1", since), "signs of life of the new daemon")


@pytest.mark.long
def test_the_folders_that_systemd_makes_are_used(make_daemon: MakeDaemon, run_dir: Path) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    state, run = run_dir / "state", run_dir / "run"
    state.mkdir()
    run.mkdir(mode=0o755)
    daemon.api = type(daemon.api)(run / "api.sock")
    daemon.start(STATE_DIRECTORY=str(state), RUNTIME_DIRECTORY=str(run))
    assert daemon.status()["daemon"]["data_dir"] == str(state)
    assert (state / "supervisor.lock").exists()
    assert (state / "run").readlink() == run, "by which levibotctl finds the sockets"
    assert run.stat().st_mode & 0o777 == 0o700
    assert not daemon.data.exists()
    assert daemon.stop() == 0
