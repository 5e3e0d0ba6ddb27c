"""A worker dies with its supervisor, owns its fence alone, and speaks only through bus and log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    Acknowledged,
    Command,
    FeedReport,
    Heartbeat,
    Hello,
    Pause,
    Resume,
    Stop,
    WorkerMessage,
)
from levibot.bus.sockets import ipc, make_socket
from levibot.config import LoggingConfig
from levibot.spec import Endpoints, WorkerSpec
from tests.deadline import wait_for
from workers.runtime import STACK_SIGNAL, process_start_ticks


class Host:
    """A supervisor process with its workers, and this test's ends of their sockets."""

    def __init__(self, directory: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
        endpoints = {name: ipc(directory / name) for name in names}
        self.spec = WorkerSpec(
            kind="feed",
            worker="feed",
            incarnation=3,
            supervisor_epoch=1,
            instance="abcd",
            endpoints=Endpoints(**endpoints),
            state_dir=directory / "state",
            log_dir=directory / "logs",
            heartbeat_interval=0.05,
            logging=LoggingConfig(),
            symbols=("BTC/USDT",),
            leash=directory / "leash",
        )
        self._payload = directory / "spec.json"
        self._payload.write_text(self.spec.model_dump_json(), encoding="utf-8")
        self._heartbeat = make_socket(self._context, zmq.PULL, bind=endpoints["heartbeat"])
        self._control = make_socket(self._context, zmq.ROUTER, bind=endpoints["control"])
        self._beats: Decoder[Heartbeat] = Decoder(Heartbeat)
        self._answers: Decoder[Hello | Acknowledged] = Decoder(WorkerMessage)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids: list[int] = []

    def start(self, behaviour: str, workers: int = 1) -> subprocess.Popen[bytes]:
        """Start a supervisor process and wait for its workers' pids."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.workers.victim", str(self._payload), behaviour, str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        assert process.stdout is not None
        self.pids += [int(pid) for pid in process.stdout.readline().split()]
        return process

    def heartbeat(self) -> Heartbeat:
        """Next heartbeat of any worker."""
        assert self._heartbeat.poll(60_000), "no heartbeat came"
        return self._beats(self._heartbeat.recv())

    def answer(self) -> Hello | Acknowledged:
        """Next message from a worker's control socket."""
        assert self._control.poll(60_000), "the worker said nothing"
        return self._answers(self._control.recv_multipart()[-1])

    def command(self, message: Command | bytes) -> None:
        """Send a command, or bytes that are none."""
        body = message if isinstance(message, bytes) else encode(message)
        self._control.send_multipart([b"feed", body])

    def stop(self, pid: int) -> None:
        """Let a worker end by itself: only then does what it ran count as covered."""
        self.command(Stop(99, "the test is over"))
        wait_for(lambda: gone(pid), "the worker's end", seconds=60)

    def records(self) -> list[dict[str, Any]]:
        """The worker's log."""
        return [
            json.loads(line)
            for path in self.spec.log_dir.glob("*.jsonl")
            for line in path.read_bytes().splitlines()
        ]

    def close(self) -> None:
        """Kill all that is left."""
        for process in self._processes:
            process.kill()
            process.communicate()
        for pid in self.pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        self._context.destroy(linger=0)


@pytest.fixture
def host(run_dir: Path) -> Iterator[Host]:
    host = Host(run_dir)
    yield host
    host.close()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("behaviour", "stopped"),
    [("beat", False), ("beat", True), ("hold_the_interpreter", False)],
    ids=["running", "stopped", "in C code with the lock held"],
)
def test_a_worker_dies_with_its_supervisor_whatever_it_is_stuck_in(
    host: Host, behaviour: str, stopped: bool
) -> None:
    supervisor = host.start(behaviour)
    (pid,) = host.pids
    assert host.heartbeat().pid == pid
    if stopped:
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the stopped state")
    supervisor.kill()
    wait_for(lambda: gone(pid), "the worker's end")


def test_a_worker_without_a_supervisor_refuses_to_run(host: Host) -> None:
    os.mkfifo(host.spec.state_dir.parent / "leash")
    code = "import sys; from tests.workers.victim import work; work(open(sys.argv[1]).read(), 'beat')"
    payload = host.spec.state_dir.parent / "spec.json"
    done = subprocess.run([sys.executable, "-c", code, str(payload)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a worker runs only as a child of a supervisor" in done.stderr


def test_one_worker_at_a_time_holds_the_fence_and_a_killed_one_frees_it(host: Host) -> None:
    host.start("fence", workers=2)
    first = wait_for(lambda: next((beat for beat in [host.heartbeat()] if beat.ready), None), "a holder")
    (second,) = set(host.pids) - {first.pid}
    for _ in range(10):
        beat = host.heartbeat()
        assert (beat.ready, beat.waiting_for) == ((True, "") if beat.pid == first.pid else (False, "fence"))
    assert host.spec.fence.read_text() == f"{first.pid} {process_start_ticks(first.pid)}\n"
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: (beat := host.heartbeat()).pid == second and beat.ready, "the second worker at the fence")
    assert host.spec.fence.read_text() == f"{second} {process_start_ticks(second)}\n"
    # Commands go to the worker that connected last, which need not be this one: so it is not stopped, but killed.


def test_a_flood_of_output_is_counted_and_reaches_the_log_alone(host: Host) -> None:
    supervisor = host.start("flood")
    wait_for(lambda: host.heartbeat().ready, "the end of the flood")
    records = host.records()
    printed = [record["text"] for record in records if record["event"] == "output"]
    suppressed = sum(record["lines"] for record in records if record["event"] == "output_suppressed")
    assert printed[0] == "line 0"
    assert printed[-1] == "half a line and its end"
    assert len(printed) + suppressed == 20_001
    assert suppressed > 15_000
    host.stop(host.pids[0])
    supervisor.kill()
    output, _ = supervisor.communicate()
    assert output == b""


def test_signals_meant_for_the_terminal_do_not_stop_a_worker(host: Host) -> None:
    host.start("beat")
    (pid,) = host.pids
    before = host.heartbeat()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    wait_for(lambda: host.heartbeat().turns > before.turns + 5, "more turns")


def test_a_worker_says_hello_obeys_and_acknowledges_each_command(host: Host) -> None:
    host.start("beat")
    (pid,) = host.pids
    assert host.answer() == Hello("feed", 3, pid)
    host.command(Pause(1))
    assert host.answer() == Acknowledged(1, True, "Pause")
    wait_for(lambda: host.heartbeat().paused, "a heartbeat of a paused worker")
    host.command(Resume(2))
    assert host.answer() == Acknowledged(2, True, "Resume")
    wait_for(lambda: not host.heartbeat().paused, "a heartbeat of a resumed worker")
    host.command(Stop(3, "test"))
    assert host.answer() == Acknowledged(3, True, "Stop")
    wait_for(lambda: gone(pid), "the worker's end", seconds=60)


def test_a_malformed_command_is_counted_and_the_next_one_is_obeyed(host: Host) -> None:
    host.start("beat")
    host.answer()
    host.command(b"\xc1 no command")
    host.command(Pause(1))
    assert host.answer() == Acknowledged(1, True, "Pause")
    beat = wait_for(lambda: next((beat for beat in [host.heartbeat()] if beat.errors), None), "the count")
    assert beat.errors == 1
    assert "no levibot.bus.messages" in beat.last_error
    assert [record["event"] for record in host.records()] == ["malformed_command"]
    host.stop(beat.pid)


def test_a_heartbeat_tells_who_beats_and_what_the_worker_reports(host: Host) -> None:
    host.start("beat")
    beat = host.heartbeat()
    assert (beat.worker, beat.incarnation, beat.pid) == ("feed", 3, host.pids[0])
    assert beat.preloaded
    assert beat.report == FeedReport(published=7, symbols={}, event_ms=None, ended=False)


def test_a_worker_that_cannot_be_asked_leaves_its_stack(host: Host) -> None:
    host.start("hold_the_interpreter")
    (pid,) = host.pids
    host.heartbeat()
    os.kill(pid, STACK_SIGNAL)
    stack = host.spec.log_dir / "feed.stack"
    wait_for(lambda: "hold_the_interpreter" in stack.read_text(), "the stack dump")


def test_processes_are_named_after_their_worker(host: Host) -> None:
    host.start("beat")
    assert psutil.Process(host.heartbeat().pid).name() == "levi-feed"
