"""How much may be used, and how many engines that allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from levibot.doctor.finding import Finding, Patient

_PER_WORKER = 6  # descriptors in a worker
_PER_WORKER_HERE = 1.4  # descriptors in the supervisor for each worker
_SUPERVISOR = 60  # descriptors that it needs anyway
_ENGINE_BYTES = 12e6  # unique memory of one
_SHARED_BYTES = 120e6  # of a process that loads ccxt or LightGBM
_BASE_BYTES = 150e6  # supervisor and forkserver
_PROCESSES_BESIDES = 8
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_UNLIMITED = 1 << 60


def check_limits(patient: Patient) -> Iterator[Finding]:
    """Descriptors, memory, processes, and the threads of numeric libraries."""
    wanted, pool = len(patient.config.symbols), patient.config.inference
    yield judge_descriptors(_hard_limit(patient), wanted)
    free = psutil.virtual_memory().available
    cgroup = cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), "memory")
    yield judge_memory(free, cgroup, wanted, 2 + pool.processes + pool.tft_processes)
    pids = cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), "pids")
    yield judge_processes(pids, wanted)
    yield judge_threads(patient.environ)


def judge_descriptors(most: int, wanted: int) -> Finding:
    """Judge the hard limit of descriptors of one process; the daemon raises its soft limit to it."""
    engines = max(0, int((most - _SUPERVISOR) / _PER_WORKER_HERE))
    found = f"{most:,} descriptors: enough for about {engines:,} engines"
    if most < 4 * _PER_WORKER or engines < wanted:
        remedy = "raise it: LimitNOFILE= of the service, or `nofile` in /etc/security/limits.conf"
        return Finding("file limit", "fail", f"{found}, {wanted} are wanted", remedy)
    return Finding("file limit", "ok", found)


def judge_memory(free: float, cgroup: float | None, wanted: int, shared: int) -> Finding:
    """Judge free memory in bytes, and the limit of the control group, by what the workers take.

    Parameters
    ----------
    free, cgroup
        Bytes; None: no limit.
    wanted
        Engines.
    shared
        Processes that load a large library.
    """
    least = min(free, cgroup) if cgroup is not None else free
    engines = max(0, int((least - _BASE_BYTES - shared * _SHARED_BYTES) / _ENGINE_BYTES))
    what = "of the control group" if cgroup is not None and cgroup < free else "free"
    found = f"{least / 1e9:.1f} GB {what}: enough for about {engines:,} engines"
    if engines < wanted:
        return Finding("memory", "fail", f"{found}, {wanted} are wanted", "free some, or trade fewer symbols")
    return Finding("memory", "ok", found)


def judge_processes(most: float | None, wanted: int) -> Finding:
    """Judge the control group's limit of processes and threads; each worker has about four threads."""
    needed = 4 * (wanted + _PROCESSES_BESIDES)
    if most is not None and most < needed:
        remedy = "raise TasksMax= of the service, or the container's pids limit"
        return Finding("process limit", "fail", f"{most:,.0f} tasks allowed, about {needed} needed", remedy)
    return Finding("process limit", "ok", "none" if most is None else f"{most:,.0f} tasks")


def judge_threads(environ: Mapping[str, str]) -> Finding:
    """Judge the variables of thread pools: one pool in a forked child can hang for ever."""
    many = [f"{name}={environ[name]}" for name in _THREADS if environ.get(name, "1") != "1"]
    if many:
        remedy = f"unset {', '.join(name.partition('=')[0] for name in many)}: the daemon sets them to 1"
        return Finding("numeric threads", "fail", f"{', '.join(many)}: pools of threads hang in workers", remedy)
    return Finding("numeric threads", "ok", "one for each library")


def cgroup_limit(membership: Path, root: Path, controller: str) -> float | None:
    """Tightest limit of a controller on this process's control group and those above it; None: no limit.

    Parameters
    ----------
    membership
        ``/proc/PID/cgroup``.
    root
        Where control groups are mounted; both versions are understood.
    controller
        "memory" (bytes) or "pids".
    """
    limits: list[int] = []
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, f"{controller}.max"
        elif controller in controllers.split(","):
            base, name = root / controller, "memory.limit_in_bytes" if controller == "memory" else "pids.max"
        else:
            continue
        folder = base / path.lstrip("/")
        for above in (folder, *folder.parents):
            if not above.is_relative_to(base):
                break
            text = _read(above / name)
            if text.isdecimal() and int(text) < _UNLIMITED:
                limits.append(int(text))
    return float(min(limits)) if limits else None


def _hard_limit(patient: Patient) -> int:
    """Of the running daemon, which may be started under other limits than this shell."""
    if patient.daemon:
        try:
            _, most = resource.prlimit(patient.daemon["pid"], resource.RLIMIT_NOFILE)
        except (PermissionError, ProcessLookupError):
            pass
        else:
            return most
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
