"""What every worker process has: a leash, a fence, a log, a heartbeat and an ear for commands."""

from __future__ import annotations

import faulthandler
import fcntl
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import multiprocess
import zmq

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import (
    Acknowledged,
    Command,
    Crashed,
    Heartbeat,
    Hello,
    Pause,
    Report,
    Resume,
)
from levibot.bus.sockets import drain, make_socket, send
from levibot.clock import boot_ns, boot_seconds
from levibot.errors import MalformedMessageError
from levibot.observability.logging import Logger, open_log
from levibot.spec import WorkerSpec
from workers.deadman import DeadMan

STACK_SIGNAL = signal.SIGUSR2
_STDOUT_LINES_PER_SECOND = 20
_ERROR_LENGTH = 500
_FAREWELL_MS = 200
_WARN_EVERY_NS = 1_000_000_000


@dataclass
class Status:
    """What the next heartbeat says; the worker's loop keeps it true."""

    ready: bool = False
    waiting_for: str = "start"
    paused: bool = False
    turns: int = 0
    market_ns: int | None = None
    decision_ns: int | None = None
    errors: int = 0
    last_error: str = ""
    queue_depth: int = 0
    dropped: int = 0
    _sent: tuple[object, ...] = field(default=(), repr=False)

    def fail(self, message: str) -> None:
        """Count an error that the worker survived."""
        self.errors += 1
        self.last_error = message[:_ERROR_LENGTH]


class Fence:
    """A lock file that at most one live process can hold, whatever else goes wrong.

    Parameters
    ----------
    path
        The file; holds pid and start time of its holder for whoever must clear a stale one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self) -> bool:
        """Take the fence if it is free; tell whether it is ours."""
        if self._fd >= 0:
            return True
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {process_start_ticks(os.getpid())}\n".encode(), 0)
        self._fd = fd
        return True


class Runtime:
    """The common part of a worker process.

    Parameters
    ----------
    spec
        What the supervisor told this worker.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.dead_man = _leash_to_parent(spec.leash, spec.deadman_grace)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)  # a stop comes by the control channel
        self.spec = spec
        self.status = Status(paused=spec.paused)
        self.log: Logger
        self.log, self.log_file = open_log(
            spec.log_dir,
            spec.worker,
            level=spec.logging.level,
            retention_days=spec.logging.retention_days,
            symbol=spec.symbol if spec.kind == "engine" else None,
        )
        _name_process(spec.worker)
        self._stack_file = _prepare_stack_dumps(spec)
        _redirect_output(self.log)
        self.fence = Fence(spec.fence)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.control = make_socket(
            self.context, zmq.DEALER, connect=spec.endpoints.control, identity=spec.worker.encode()
        )
        self._heartbeat = make_socket(self.context, zmq.PUSH, connect=spec.endpoints.heartbeat)
        self._decode: Decoder[Command] = Decoder(Command)
        self._interval_ns = int(spec.heartbeat_interval * 1e9)
        self._next_beat_ns = 0
        self._warned_ns: dict[str, int] = {}
        send(self.control, encode(Hello(spec.worker, spec.incarnation, os.getpid())))

    def commands(self) -> Iterator[Command]:
        """Commands that wait. Pause and Resume are noted in `status` already; acknowledge each."""
        for frames in drain(self.control):
            try:
                command = self._decode(frames[-1])
            except MalformedMessageError as error:
                self.status.fail(str(error))
                self.log.error("malformed_command", error=str(error))
                continue
            if isinstance(command, Pause | Resume):
                self.status.paused = isinstance(command, Pause)
            yield command

    def acknowledge(self, command: Command, *, ok: bool = True, detail: str = "") -> None:
        """Answer a command."""
        send(self.control, encode(Acknowledged(command.command_id, ok, detail)))

    def beat(self, report: Callable[[], Report | None], *, force: bool = False) -> None:
        """Send a heartbeat if one is due, or if what the supervisor acts on has changed.

        Parameters
        ----------
        report
            Makes the worker's own part; called only if a heartbeat is sent.
        force
            Send now.
        """
        status, now = self.status, boot_ns()
        key = (status.ready, status.waiting_for, status.paused)
        if not force and now < self._next_beat_ns and key == status._sent:
            return
        status._sent = key
        self._next_beat_ns = now + self._interval_ns
        heartbeat = Heartbeat(
            worker=self.spec.worker,
            incarnation=self.spec.incarnation,
            pid=os.getpid(),
            ready=status.ready,
            waiting_for=status.waiting_for,
            paused=status.paused,
            turns=status.turns,
            market_ns=status.market_ns,
            decision_ns=status.decision_ns,
            errors=status.errors,
            last_error=status.last_error,
            queue_depth=status.queue_depth,
            dropped=status.dropped + self.log_file.refused,
            preloaded="levibot.supervisor.preload" in sys.modules,
            report=report(),
        )
        send(self._heartbeat, encode(heartbeat))

    def warn_limited(self, event: str, /, **fields: object) -> None:
        """Log what others can cause as often as they like: once a second of each kind, or they fill the disk."""
        now_ns = boot_ns()
        if now_ns >= self._warned_ns.get(event, 0) + _WARN_EVERY_NS:
            self._warned_ns[event] = now_ns
            self.log.warning(event, **fields)

    def report_crash(self, error: BaseException) -> None:
        """Tell the supervisor why this process ends; the log has the traceback."""
        self.log.error("worker_crashed", worker=self.spec.worker, exc_info=error)
        reason = f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]
        send(self.control, encode(Crashed(self.spec.worker, self.spec.incarnation, reason)))

    def close(self) -> None:
        """Close every socket; the last words, an acknowledgement or a heartbeat, get a moment to leave."""
        self.context.destroy(linger=_FAREWELL_MS)

    def seconds_to_beat(self) -> float:
        """How long the loop may sleep before the next heartbeat is due."""
        return max(0.0, (self._next_beat_ns - boot_ns()) / 1e9)


def process_start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot: with the pid, the identity of a process."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[19])


def _leash_to_parent(leash: Path | None, grace_s: float) -> DeadMan | None:
    """Let the kernel kill this process when the supervisor is gone; a live broker gets `grace_s` from then on.

    The supervisor holds a FIFO open for writing, and never writes. A signal armed on our end comes when
    the last writer is gone, even while this process is stopped or stuck in C code, where a watching thread
    would not run. The pipe through which the process was started will not do: the kernel signals readers
    after a write too, and a busy writer may get round to that when the signal is armed already.
    """
    dead_man = None
    if leash is not None and grace_s:
        dead_man = DeadMan(leash, grace_s)
    elif leash is not None:
        fd = os.open(leash, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    parent = multiprocess.parent_process()
    if parent is None:
        raise RuntimeError("a worker runs only as a child of a supervisor")
    if select.select([parent.sentinel], [], [], 0)[0]:  # it died before the signal was armed
        os._exit(1)
    return dead_man


def _name_process(worker: str) -> None:
    # The kernel keeps 15 bytes, and the number of an inference process must be among them.
    short = worker.removeprefix("engine-").replace("inference", "infer")
    Path("/proc/self/comm").write_text(f"levi-{short}"[:15], encoding="utf-8")


def _prepare_stack_dumps(spec: WorkerSpec) -> io.TextIOWrapper:
    spec.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (spec.log_dir / f"{spec.worker}.stack").open("a", encoding="utf-8")
    faulthandler.enable(file)
    faulthandler.register(STACK_SIGNAL, file, all_threads=True)
    return file


class _LogWriter(io.TextIOBase):
    """Stands in for stdout: what a strategy prints becomes log lines, a flood is counted instead."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._rest = ""
        self._second = 0
        self._lines = 0
        self._suppressed = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-4000:]
        for line in filter(None, lines):
            self._emit(line)
        return len(text)

    def _emit(self, line: str) -> None:
        second = int(boot_seconds())
        if second != self._second:
            if self._suppressed:
                self._log.warning("output_suppressed", lines=self._suppressed)
            self._second, self._lines, self._suppressed = second, 0, 0
        self._lines += 1
        if self._lines > _STDOUT_LINES_PER_SECOND:
            self._suppressed += 1
        else:
            self._log.info("output", text=line[:4000])


def _redirect_output(log: Logger) -> None:
    sys.stdout = sys.stderr = _LogWriter(log)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # C code that writes must not reach the operator's terminal, nor block on it
        os.dup2(null, fd)
    os.close(null)
