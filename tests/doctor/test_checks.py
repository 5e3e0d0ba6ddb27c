"""Each check, brought to fail by what it is there for."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.config import Config
from levibot.doctor import clock, disk, limits, permissions, processes, versions
from levibot.doctor.disk import check_disk
from levibot.doctor.finding import Finding, Patient
from levibot.doctor.limits import check_limits
from levibot.doctor.locks import check_locks
from levibot.doctor.permissions import check_permissions
from levibot.doctor.versions import check_versions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def patient(run_dir: Path) -> Callable[..., Patient]:
    def make(environ: dict[str, str] | None = None, status: Any = None, **sections: Any) -> Patient:
        settings = {"supervisor": {"data_dir": run_dir / "var"}, "api": {"port": 0}, **sections}
        return Patient(Config.model_validate(settings), None, run_dir / "var" / "run", environ or {}, status)

    return make


def of(findings: Iterable[Finding], check: str) -> Finding:
    found = {finding.check: finding for finding in findings}[check]
    assert bool(found.remedy) == (found.level != "ok"), "a remedy stands where something is wrong, and only there"
    return found


# ---------------------------------------------------------------------- clock


def test_the_kernels_clock_is_read() -> None:
    read = clock.read_kernel_clock()
    assert abs(read.offset) < 3600
    assert 0 <= read.most_error < 1e6


@pytest.mark.parametrize(
    ("read", "level"),
    [
        (clock.KernelClock(True, 0.001, 0.01), "ok"),
        (clock.KernelClock(False, 0.0, 16.0), "warn"),
        (clock.KernelClock(True, 0.0, 5.0), "warn"),
        (clock.KernelClock(True, -3.0, 0.01), "fail"),
    ],
)
def test_a_clock_that_is_off_is_found(read: clock.KernelClock, level: str) -> None:
    assert clock.judge_clock(read, 2.0).level == level


@pytest.mark.parametrize(("market_ms", "level"), [(None, "warn"), (999_000, "ok"), (1_005_000, "fail")])
def test_an_exchange_whose_time_is_ahead_is_found(market_ms: int | None, level: str) -> None:
    assert clock.judge_market(market_ms, 1_000_000, 2.0).level == level


# ---------------------------------------------------------------------- disk


def test_too_little_room_is_found(patient: Callable[..., Patient]) -> None:
    assert of(check_disk(patient()), "disk space").level == "ok"
    assert of(check_disk(patient(alerts={"disk_free_mb": 1e12})), "disk space").level == "fail"


def test_a_folder_that_cannot_be_written_is_found(run_dir: Path) -> None:
    assert disk.probe(run_dir).level == "ok"
    assert list(run_dir.iterdir()) == []
    assert disk.probe(Path("/proc")).level == "fail"


def test_a_full_disk_is_found(tmp_path: Path) -> None:
    """In a process that may write no byte to any file, as on a full disk."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from levibot.doctor.disk import probe\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        f"finding = probe(Path({str(tmp_path)!r})); sys.exit(0 if finding.level == 'fail' else 1)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=90, cwd=ROOT)


def test_file_systems_over_a_network_and_in_memory_are_told(tmp_path: Path) -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /mnt/my\\040share rw shared:1 - nfs4 server:/x rw\n"
        "3 1 0:6 / /dev/shm rw - tmpfs tmpfs rw\n"
    )
    assert disk.kind_of_file_system(Path("/mnt/my share/var"), mounts) == "nfs4"
    assert disk.kind_of_file_system(Path("/mnt/my sharer"), mounts) == "ext4"
    assert disk.judge_kind(tmp_path, "nfs4").level == "warn"
    assert disk.judge_kind(tmp_path, "tmpfs").level == "warn"
    here = disk.kind_of_file_system(Path("/proc"), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    assert here == "proc"


# ---------------------------------------------------------------------- port, lock, fences, sockets


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_somebody_else_has_is_found(patient: Callable[..., Patient], foreign_port: int) -> None:
    found = of(check_locks(patient(api={"port": foreign_port})), "API port")
    assert found.level == "fail"
    assert f"process {os.getpid()}" in found.found
    running = {"daemon": {"pid": os.getpid()}, "engines": [], "workers": []}
    assert of(check_locks(patient(api={"port": foreign_port}, status=running)), "API port").level == "ok"


def test_a_port_that_is_free_while_the_daemon_runs_is_not_the_configured_one(
    patient: Callable[..., Patient],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert of(check_locks(patient(api={"port": port})), "API port").level == "ok"
    running = {"daemon": {"pid": os.getpid()}, "engines": [], "workers": []}
    assert of(check_locks(patient(api={"port": port}, status=running)), "API port").level == "warn"


@pytest.fixture
def holder(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the daemon's lock and the fence of an engine, and answers to nobody."""
    script = (
        "import sys, time; from pathlib import Path; from levibot.supervisor.lock import acquire\n"
        "from workers.runtime import Fence\n"
        "data = Path(sys.argv[1]); lock = acquire(data / 'supervisor.lock')\n"
        "fence = Fence(data / 'paper-simulated-default/fences/engine-BTC-USDT.lock'); assert fence.acquire()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, run_dir / "var"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_holds_the_lock_and_the_fences_is_found(
    patient: Callable[..., Patient], holder: subprocess.Popen[str]
) -> None:
    findings = list(check_locks(patient()))
    lock, fences = of(findings, "daemon lock"), of(findings, "fences")
    assert (lock.level, fences.level) == ("fail", "fail")
    assert f"process {holder.pid}" in lock.found
    assert f"engine-BTC-USDT by process {holder.pid}" in fences.found
    worker = {"worker": "engine-BTC-USDT", "pid": holder.pid}
    running = {"daemon": {"pid": holder.pid}, "engines": [worker], "workers": []}
    findings = list(check_locks(patient(status=running)))
    assert (of(findings, "daemon lock").level, of(findings, "fences").level) == ("ok", "ok")
    holder.kill()
    holder.wait()
    findings = list(check_locks(patient()))
    assert (of(findings, "daemon lock").level, of(findings, "fences").level) == ("ok", "ok"), (
        "stale text is nothing"
    )


def test_a_lock_that_names_nobody_is_found_too(patient: Callable[..., Patient], run_dir: Path) -> None:
    path = run_dir / "var" / "supervisor.lock"
    path.parent.mkdir()
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = of(check_locks(patient()), "daemon lock")
    assert found.level == "fail"
    assert "does not name" in found.found


def test_sockets_that_a_dead_daemon_left_are_no_trouble(patient: Callable[..., Patient], run_dir: Path) -> None:
    folder = run_dir / "var" / "run"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "control.sock"))
    found = of(check_locks(patient()), "sockets")
    assert (found.level, "left by a daemon that is gone" in found.found) == ("ok", True)


# ---------------------------------------------------------------------- limits


def test_a_low_limit_of_descriptors_is_found() -> None:
    """The process's own hard limit, so in a process of its own."""
    script = (
        "import resource, sys; from pathlib import Path; from levibot.config import Config\n"
        "from levibot.doctor.finding import Patient; from levibot.doctor.limits import check_limits\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "found = {f.check: f for f in check_limits(Patient(Config(), None, Path('run'), {}))}['file limit']\n"
        "print(found.found); sys.exit(0 if found.level == 'fail' and 'LimitNOFILE' in found.remedy else 1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "64 descriptors: enough for about 2 engines, 5 are wanted" in done.stdout


def test_limits_of_this_machine_are_read(patient: Callable[..., Patient]) -> None:
    assert {finding.check for finding in check_limits(patient())} == {
        "file limit", "memory", "process limit", "numeric threads",
    }  # fmt: skip


def test_too_little_memory_for_the_symbols_is_found() -> None:
    assert limits.judge_memory(8e9, None, 15, 4).level == "ok"
    assert limits.judge_memory(0.7e9, None, 15, 4).level == "fail"
    found = limits.judge_memory(8e9, 0.7e9, 15, 4)
    assert (found.level, "control group" in found.found) == ("fail", True)
    assert limits.judge_processes(20, 15).level == "fail"


def test_threads_of_numeric_libraries_are_found(patient: Callable[..., Patient]) -> None:
    found = of(check_limits(patient({"OMP_NUM_THREADS": "4"})), "numeric threads")
    assert (found.level, found.remedy) == ("fail", "unset OMP_NUM_THREADS: the daemon sets them to 1")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.max": "max"}, 1000),
        ("0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.max": "500"}, 500),
        ("3:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("3:memory:/x\n", {"memory/x/memory.limit_in_bytes": "700"}, 700),
        ("0::/\n", {}, None),
    ],
)
def test_limits_of_control_groups_are_read(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n", encoding="ascii")
    own = tmp_path / "membership"
    own.write_text(membership, encoding="ascii")
    assert limits.cgroup_limit(own, tmp_path, "memory") == expected


# ---------------------------------------------------------------------- versions


def test_packages_that_are_missing_or_other_are_found(tmp_path: Path) -> None:
    pins = tmp_path / "run.txt"
    pins.write_text(
        "click==8.1.8 \\\n    --hash=sha256:0\nfoo_Bar==1.0\nwin==2.0 ; sys_platform == 'win32' \\\n",
        encoding="utf-8",
    )
    wanted = versions.wanted_packages(pins)
    assert wanted == {"click": ("==", "8.1.8"), "foo-bar": ("==", "1.0")}
    assert versions.judge_packages(wanted, {"click": "8.1.8", "foo-bar": "1.0"}).level == "ok"
    assert "click 8.2" in versions.judge_packages(wanted, {"click": "8.2", "foo-bar": "1.0"}).found
    assert versions.judge_packages(wanted, {"click": "8.1.8"}).level == "fail"


def test_without_the_pins_the_package_itself_says_what_it_needs(tmp_path: Path) -> None:
    wanted = versions.wanted_packages(tmp_path / "none")
    assert wanted["pyzmq"][0] == ">="
    assert versions.judge_packages(wanted, versions.installed_packages()).level == "ok"
    assert versions.judge_packages(wanted, {**versions.installed_packages(), "pyzmq": "9.9"}).level == "warn"


def test_an_old_python_and_changed_code_are_found(patient: Callable[..., Patient]) -> None:
    assert versions.judge_python((3, 10, 4)).level == "fail"
    assert versions.judge_code(True, "0.1.0").level == "fail"
    assert versions.judge_code(False, "0.0.9").level == "warn"
    assert of(check_versions(patient()), "Python").level == "ok"


# ---------------------------------------------------------------------- processes


def test_a_preload_that_did_not_take_and_threads_in_the_forkserver_are_found() -> None:
    assert processes.judge_preload(["feed"], 3).level == "fail"
    assert processes.judge_forkserver(2).level == "fail"
    assert processes.check_kernel().level == "ok"


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("import a_module_that_is_missing\n", "preload"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
            "forkserver",
        ),
    ],
)
def test_a_damaged_preload_is_found_without_a_daemon(tmp_path: Path, damage: str, check: str) -> None:
    """In a copy of the code, whose preload module is broken for real."""
    for package in ("levibot", "workers"):
        subprocess.run(["cp", "-r", str(ROOT / package), str(tmp_path)], check=True)
    preload = tmp_path / "levibot" / "supervisor" / "preload.py"
    preload.write_text(preload.read_text(encoding="utf-8") + damage, encoding="utf-8")
    script = (
        "import json; from pathlib import Path; from levibot.config import Config\n"
        "from levibot.doctor.finding import Patient; from levibot.doctor.processes import check_processes\n"
        "patient = Patient(Config(), None, Path('run'), {})\n"
        "print(json.dumps({f.check: f.level for f in check_processes(patient)}))"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=inherited, capture_output=True, text=True, check=True
    )
    levels = json.loads(done.stdout)
    assert levels.pop(check) == "fail"
    assert set(levels.values()) == {"ok"}


# ---------------------------------------------------------------------- permissions


def test_folders_and_secrets_that_others_can_read_are_found(
    patient: Callable[..., Patient], run_dir: Path
) -> None:
    data = run_dir / "var"
    data.mkdir(mode=0o700)
    token, targets = data / "api-token", run_dir / "targets"
    for path in (token, targets):
        path.write_text("secret\n", encoding="ascii")
        path.chmod(0o600)
    sound = patient(alerts={"targets_file": targets})
    assert {finding.level for finding in check_permissions(sound)} == {"ok"}
    data.chmod(0o755)
    token.chmod(0o640)
    targets.chmod(0o604)
    findings = list(check_permissions(sound))
    assert of(findings, "data_dir").level == "warn"
    assert of(findings, "API token").level == "fail"
    assert of(findings, "alerts.targets_file").remedy == f"chmod 600 {targets}"
    assert "secret" not in str(findings)
    data.chmod(0o777)
    assert of(check_permissions(sound), "data_dir").level == "fail"
    targets.unlink()
    assert of(check_permissions(sound), "alerts.targets_file").level == "fail"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_found(run_dir: Path) -> None:
    folder, file = run_dir / "var", run_dir / "token"
    folder.mkdir(mode=0o700)
    file.touch(mode=0o600)
    for path in (folder, file):
        os.chown(path, 12345, 12345)
    assert permissions.check_folder("data_dir", folder, os.geteuid()).level == "fail"
    assert permissions.check_secret("token", file, os.geteuid()).level == "fail"
    os.chown(file, 0, 0)
    assert permissions.check_secret("token", file, 12345).remedy == f"chown 12345 {file}"


def test_a_configuration_that_everybody_may_write_is_found(run_dir: Path) -> None:
    path = run_dir / "supervisor.toml"
    path.touch(mode=0o644)
    assert permissions.check_config(path).level == "ok"
    path.chmod(0o666)
    assert permissions.check_config(path).level == "fail"


def test_something_in_the_place_of_a_folder_is_found(run_dir: Path) -> None:
    (run_dir / "var").touch()
    assert permissions.check_folder("data_dir", run_dir / "var", os.geteuid()).level == "fail"


def test_a_socket_that_never_answers_is_told(patient: Callable[..., Patient]) -> None:
    place = patient()
    place.run_dir.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place.run_dir / "api.sock"))
        silent.listen()
        found = of(check_locks(place), "sockets")
    assert found.level == "warn"
