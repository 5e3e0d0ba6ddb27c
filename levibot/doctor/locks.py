"""Who holds what: the port, the data directory, the fences, the sockets."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

from levibot.api.client import ApiClient, NotRunningError
from levibot.doctor.finding import Finding, Patient
from levibot.errors import LeviBotError
from levibot.locations import API_SOCKET
from levibot.supervisor.lock import read_holder
from levibot.supervisor.orphans import is_held


def check_locks(patient: Patient) -> Iterator[Finding]:
    """The API's port, the daemon's lock, the fences of workers, and what lies in the folder of the sockets."""
    yield _port(patient)
    yield _daemon_lock(patient)
    yield from _fences(patient)
    yield _sockets(patient)


def _port(patient: Patient) -> Finding:
    api = patient.config.api
    if not api.port:
        return Finding("API port", "ok", "none wanted")
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((api.host, api.port))
            listener.listen()
        except OSError as error:
            return _taken(patient, error)
    if patient.daemon:
        remedy = "it was changed in the configuration: `levibotctl upgrade` applies it"
        return Finding("API port", "warn", f"the daemon runs, but not on {api.host}:{api.port}", remedy)
    return Finding("API port", "ok", f"{api.host}:{api.port} is free")


def _taken(patient: Patient, error: OSError) -> Finding:
    api = patient.config.api
    owner = _listener(api.port)
    if patient.daemon and owner in (None, patient.daemon["pid"]):
        return Finding("API port", "ok", f"{api.host}:{api.port} is ours")
    who = f"process {owner} ({_name(owner)})" if owner is not None else f"another process ({error.strerror})"
    return Finding("API port", "fail", f"{api.host}:{api.port}: {who} has it", "end that, or set another api.port")


def _listener(port: int) -> int | None:
    """Process that listens on a TCP port of this machine; None if it cannot be known."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return None
    listening = (c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr[1] == port)
    return next((c.pid for c in listening), None)


def _daemon_lock(patient: Patient) -> Finding:
    path = patient.data_dir / "supervisor.lock"
    if not path.exists():
        return Finding("daemon lock", "ok", "free: no daemon ran here yet")
    try:
        held, holder = is_held(path), read_holder(path)
    except OSError as error:
        return Finding("daemon lock", "fail", f"{path}: {error.strerror}", "run this as the daemon's user")
    if not held:
        return Finding("daemon lock", "ok", "free")
    pid = holder.pid if holder is not None else None
    who = f"process {pid}, since {holder.started_at}" if holder is not None else "a process that it does not name"
    if patient.daemon and pid == patient.daemon["pid"]:
        return Finding("daemon lock", "ok", f"held by the daemon, {who}")
    remedy = f"see `levibotctl logs supervisor`; end it with `kill {pid or 'PID'}` (`fuser {path}` finds it)"
    return Finding("daemon lock", "fail", f"held by {who}, which does not answer", remedy)


def _fences(patient: Patient) -> Iterator[Finding]:
    known = {worker["worker"]: worker["pid"] for worker in patient.workers}
    strange = []
    try:
        held = [path for path in sorted((patient.config.state_dir / "fences").glob("*.lock")) if is_held(path)]
    except OSError as error:
        yield Finding("fences", "fail", f"cannot be read: {error}", "run this as the daemon's user")
        return
    for path in held:
        pid = _fence_pid(path)
        if pid is None or known.get(path.stem) != pid:
            strange.append(f"{path.stem} by {f'process {pid} ({_name(pid)})' if pid else 'an unknown process'}")
    if strange:
        remedy = "a worker that outlived its daemon: the next start kills it; or find it with `fuser`, and end it"
        yield Finding("fences", "fail", f"held by no worker of a running daemon: {', '.join(strange)}", remedy)
    else:
        yield Finding("fences", "ok", f"{len(held)} held, each by its worker" if held else "all free")


def _sockets(patient: Patient) -> Finding:
    try:
        there = [path for path in patient.run_dir.iterdir() if stat.S_ISSOCK(path.lstat().st_mode)]
    except FileNotFoundError:
        return Finding("sockets", "ok", "none yet")
    except OSError as error:
        return Finding("sockets", "fail", f"{patient.run_dir}: {error.strerror}", "run this as the daemon's user")
    if patient.daemon or not there:
        return Finding("sockets", "ok", f"{len(there)} in {patient.run_dir}")
    try:
        ApiClient(patient.run_dir / API_SOCKET, 1.0).get("/health")
    except NotRunningError:
        return Finding("sockets", "ok", f"{len(there)} left by a daemon that is gone; the next replaces them")
    except LeviBotError:
        pass
    return Finding("sockets", "warn", f"somebody answers in {patient.run_dir}", "is another daemon using run_dir?")


def _fence_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _name(pid: int | None) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "gone"
