"""The words of sd_notify, on real datagram sockets."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from levibot.supervisor.notify import ServiceManager, take_variables
from tests.deadline import wait_for
from tests.notify_socket import listening


def refuse(error: Exception) -> None:
    raise AssertionError(f"not survived: {error}")


def test_variables_are_taken_from_the_environment_that_children_inherit() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "HOME": "/root"}
    assert take_variables(environ) == {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}
    assert environ == {"HOME": "/root"}
    assert take_variables(environ) == {}


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_reload_and_end_are_told(run_dir: Path, abstract: bool) -> None:
    address = f"@levibot-test-{secrets.token_hex(8)}" if abstract else str(run_dir / "notify")
    with listening(address) as systemd:
        service = ServiceManager({"NOTIFY_SOCKET": address}, refuse)
        service.ready()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        with pytest.raises(ZeroDivisionError), service.reloading():
            raise ZeroDivisionError
        service.ending(15.5, again=False)
        wait_for(lambda: "EXTEND_TIMEOUT_USEC=15500000" in systemd.lines, "the last line")
        told = [line for line in systemd.lines if not line.startswith("MONOTONIC_USEC=")]
    assert told == [
        "READY=1", "RELOADING=1", "READY=1", "STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=15500000",
    ]  # fmt: skip
    assert before <= int(systemd.newest("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_slow_phase_asks_for_time_and_for_patience_of_the_watchdog(run_dir: Path) -> None:
    with listening(str(run_dir / "notify")) as systemd:
        service = ServiceManager({"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000000"}, refuse)
        with service.slow("training", 300):
            pass
        wait_for(lambda: "WATCHDOG=1" in systemd.lines, "the end of it")
        asked = ["STATUS=training", "EXTEND_TIMEOUT_USEC=300000000", "WATCHDOG_USEC=300000000"]
        assert systemd.lines == [*asked, "WATCHDOG_USEC=30000000", "WATCHDOG=1"]


def test_a_restart_of_the_same_process_is_a_reload_and_no_stop(run_dir: Path) -> None:
    with listening(str(run_dir / "notify")) as systemd:
        ServiceManager({"NOTIFY_SOCKET": systemd.address}, refuse).ending(1, again=True)
        wait_for(lambda: "RELOADING=1" in systemd.lines, "the notice")
        assert "STOPPING=1" not in systemd.lines


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", "1", None),  # meant for another process
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
    ids=["whom it starts", "this one", "another", "off", "no number", "none"],
)
def test_whom_the_watchdog_waits_for(usec: str, pid: str, expected: float | None) -> None:
    service = ServiceManager({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, refuse)
    assert service.watchdog_seconds == expected


def test_signs_of_life_end_while_the_work_stands_still(run_dir: Path) -> None:
    works = [True]
    asked: list[float] = []  # at each sign of life

    def works_on() -> bool:
        if works[0]:
            asked.append(time.monotonic())
        return works[0]

    async def scenario() -> None:
        service = ServiceManager({"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}, refuse)
        service.ready()
        report = asyncio.create_task(service.report(works_on, lambda: f"works: {works[0]}"))
        while len(systemd.times("WATCHDOG=1")) < 4:
            await asyncio.sleep(0.02)
        works[0] = False
        while "STATUS=works: False" not in systemd.lines:
            await asyncio.sleep(0.02)
        signs = len(systemd.times("WATCHDOG=1"))
        await asyncio.sleep(1.0)
        assert len(systemd.times("WATCHDOG=1")) == signs
        report.cancel()
        with suppress(asyncio.CancelledError):
            await report

    with listening(str(run_dir / "notify")) as systemd:
        asyncio.run(asyncio.wait_for(scenario(), 60))
        assert len(systemd.times("WATCHDOG=1")) == len(asked)
        assert min(later - earlier for earlier, later in itertools.pairwise(asked)) > 0.15
        assert systemd.lines.count("STATUS=works: True") == 1, "told when it changes, not over and over"


def test_a_service_manager_that_does_not_listen_stops_nothing(run_dir: Path) -> None:
    errors: list[Exception] = []
    service = ServiceManager({"NOTIFY_SOCKET": str(run_dir / "nobody")}, errors.append)
    service.ready()
    assert isinstance(errors[0], FileNotFoundError)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(run_dir / "full"))
        service = ServiceManager({"NOTIFY_SOCKET": str(run_dir / "full")}, errors.append)
        for _ in range(5000):
            service.ready()
        assert isinstance(errors[-1], BlockingIOError), "a send must not wait"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1"])
def test_nothing_is_sent_where_no_unix_socket_is_named(address: str) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address} if address else {}, refuse)
    service.ready()
    asyncio.run(asyncio.wait_for(service.report(lambda: True, str), 60))
