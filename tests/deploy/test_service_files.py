"""The unit, as systemd itself reads it, and the installation of the service into a staging folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from levibot.api.client import ApiClient, NotRunningError
from levibot.config_file import load
from tests.deadline import wait_for

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "levibot.service"
MOST_EXPOSURE = 3.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (package systemd)"
)


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, **environ},
    )


def make(target: str, destination: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile in the environment that is there, whatever the age of its files."""
    settings = {"DESTDIR": str(destination), "DEPENDENCIES": "no", "PYTHON": sys.executable, **variables}
    made_already = ("-o", ".venv/.run", "-o", ".venv/bin/python", "-o", "install")
    return run("make", "--no-print-directory", *made_already, target, *(f"{k}={v}" for k, v in settings.items()))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("stage")
    done = make("install-service", destination)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"staged below {destination}\n"
    return destination


def read_unit(path: Path) -> dict[str, list[str]]:
    """Settings of all sections; a key may be there several times."""
    settings: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            settings.setdefault(match[1], []).append(match[2])
    return settings


def runnable(unit: Path, folder: Path, python: Path) -> Path:
    """The unit with an interpreter that is there, for `systemd-analyze verify` looks whether it is."""
    copy = folder / "levibot.service"
    text = unit.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/levibot/venv/bin/python", str(python)), encoding="utf-8")
    return copy


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    done = run("systemd-analyze", "verify", runnable(UNIT, tmp_path, Path(sys.executable)))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_would_find_a_mistake(tmp_path: Path) -> None:
    unit = runnable(UNIT, tmp_path, Path(sys.executable))
    unit.write_text(unit.read_text().replace("OOMPolicy=", "OOMPolice="))
    assert "OOMPolice" in run("systemd-analyze", "verify", unit).stderr


@needs_systemd
def test_the_service_is_not_exposed_more_than_it_must_be() -> None:
    threshold = f"--threshold={MOST_EXPOSURE * 10:.0f}"
    done = run("systemd-analyze", "security", "--offline=true", threshold, UNIT)
    assert done.returncode == 0, done.stdout[-300:]
    exposure = re.search(r"Overall exposure level for levibot.service: ([\d.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_the_unit_says_what_the_daemon_counts_on() -> None:
    unit = read_unit(UNIT)
    expected = {
        "Type": "notify",
        "KillMode": "control-group",
        "TimeoutStopSec": "15",
        "Restart": "on-failure",
        "RestartSec": "1",
        "StartLimitIntervalSec": "0",
        "OOMPolicy": "continue",
        "StateDirectory": "levibot",
        "RuntimeDirectory": "levibot",
        "UMask": "0077",
        "ExecReload": "/bin/kill -HUP $MAINPID",
    }
    assert {key: unit[key] for key in expected} == {key: [value] for key, value in expected.items()}
    assert re.search(r"python -m levibot -c /etc/levibot/supervisor\.toml", unit["ExecStart"][0])
    assert float(unit["WatchdogSec"][0]) > 15, "longer than any stall that the supervisor forgives itself"
    assert "LoadCredential" not in unit, "a missing credential stops the unit: it belongs to the live drop-in"
    assert "ProcSubset" not in unit, "psutil needs all of /proc"
    assert "LoadCredential" in read_unit(ROOT / "deploy/levibot.service.d/live.conf")


def test_zeromq_may_schedule_its_threads_and_polars_may_be_imported() -> None:
    """libzmq aborts if sched_setscheduler is refused; Polars looks at the CPU with code that it writes itself."""
    unit = read_unit(UNIT)
    assert not [line for line in unit["SystemCallFilter"] if line.startswith("~") and "@resources" in line]
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        assert "POLARS_SKIP_CPU_CHECK=1" in unit["Environment"]


@pytest.mark.parametrize("library", ["lightgbm", "polars", "numpy", "ccxt.pro", "apprise", "zmq", "multiprocess"])
def test_what_workers_load_needs_no_memory_that_is_writable_and_executable(library: str) -> None:
    """As under MemoryDenyWriteExecute, here by the kernel's own switch (PR_SET_MDWE)."""
    refuse = "import ctypes, sys; sys.exit(77) if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) else None"
    use = {
        "lightgbm": "import numpy; data = lightgbm.Dataset(numpy.random.rand(500, 3), numpy.arange(500) % 2)\n"
        "model = lightgbm.train({'objective': 'binary', 'num_threads': 1, 'verbose': -1}, data, 5)\n"
        "assert model.predict([[1, 2, 3]])",
        "polars": "assert polars.DataFrame({'a': [1, 2]}).sum().item() == 3",
        "zmq": "zmq.Context().socket(zmq.PUB).close()",
    }.get(library, "")
    script = f"{refuse}\nimport {library}\n{use}"
    done = run(sys.executable, "-c", script, POLARS_SKIP_CPU_CHECK="1")
    if done.returncode == 77:
        pytest.skip("this kernel is older than 6.3: no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr


@needs_systemd
def test_what_was_staged_is_a_service_that_systemd_accepts(staged: Path, tmp_path: Path) -> None:
    unit = staged / "etc/systemd/system/levibot.service"
    python = staged / "opt/levibot/venv/bin/python"
    done = run("systemd-analyze", "verify", runnable(unit, tmp_path, python))
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("systemd-sysusers"):
        shown = run("systemd-sysusers", "--dry-run", staged / "etc/sysusers.d/levibot.conf")
        assert shown.returncode == 0, shown.stderr


def test_the_staged_environment_runs_the_daemon(staged: Path, run_dir: Path) -> None:
    configuration = run_dir / "supervisor.toml"
    shutil.copy(staged / "etc/levibot/supervisor.toml", configuration)
    text = configuration.read_text(encoding="utf-8")
    assert 'data_dir = "/var/lib/levibot"' in text
    assert load(configuration, {}).config.supervisor.data_dir == Path("/var/lib/levibot")
    text = text.replace('"/var/lib/levibot"', '"state"').replace("port = 8383", "port = 0")
    text = text.replace('strategy = "ensemble"', 'strategy = "sma_cross"')
    configuration.write_text(text.replace("processes = 2", "processes = 0"), encoding="utf-8")
    dependencies = Path(msgspec.__file__).parents[1]  # they were left out
    environ = {**os.environ, "PYTHONPATH": str(dependencies)}
    environ = {name: value for name, value in environ.items() if not name.startswith("COVERAGE")}
    daemon = subprocess.Popen(
        [staged / "opt/levibot/venv/bin/python", "-m", "levibot", "-c", configuration, "--no-table"],
        cwd=run_dir,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        api = ApiClient(run_dir / "state/run/api.sock")
        status = wait_for(lambda: _status(api), "the daemon", seconds=60, every=0.05)
        modules = Path(f"/proc/{status['daemon']['forkserver_pid']}/exe").resolve()
        assert modules == Path(sys.executable).resolve()
        wrapper = (staged / "usr/local/bin/levibotctl").read_text(encoding="utf-8")
        command = run_dir / "levibotctl"
        command.write_text(wrapper.replace("/opt/levibot", f"{staged}/opt/levibot"), encoding="utf-8")
        command.chmod(0o755)
        shown = subprocess.run(
            [command, "-c", configuration, "status", "BTC/USDT"],
            env=environ, cwd=run_dir, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert shown.returncode == 0, shown.stderr
        assert "BTC/USDT" in shown.stdout
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=90)
    assert (daemon.returncode, said) == (0, b"")


def _status(api: ApiClient) -> dict[str, dict[str, int]] | None:
    try:
        document: dict[str, dict[str, int]] = api.get("/engines/status")
    except NotRunningError:
        return None
    return document


def test_installed_again_it_keeps_the_configuration_and_uninstalled_the_state(tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    assert make("install-service", stage, PREFIX="/srv/levi").returncode == 0
    unit = read_unit(stage / "etc/systemd/system/levibot.service")
    assert unit["ExecStart"][0].startswith("/srv/levi/venv/bin/python -m levibot ")
    assert "/srv/levi/venv/bin/python" in (stage / "usr/local/bin/levibotctl").read_text(encoding="utf-8")
    kept = {
        "etc/levibot/supervisor.toml": "symbols = ['BTC/USDT']\n",
        "etc/systemd/system/levibot.service.d/override.conf": "[Service]\nNice=5\n",
        "var/lib/levibot/orders": "",
    }
    for name, text in kept.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text(text, encoding="utf-8")
    assert make("install-service", stage, PREFIX="/srv/levi").returncode == 0
    for _ in range(2):
        done = make("uninstall-service", stage, PREFIX="/srv/levi")
        assert done.returncode == 0, done.stderr
        assert "kept: /etc/levibot" in done.stdout
        files = {path.relative_to(stage) for path in stage.rglob("*") if not path.is_dir()}
        assert {str(path): (stage / path).read_text(encoding="utf-8") for path in files} == kept


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PYTHON": "python2.0"}, "python2.0 is missing; name one"),
        ({"PREFIX": "opt"}, "is no absolute folder"),
        ({"PREFIX": "/"}, "is no absolute folder"),
        ({"PREFIX": "/opt/my bot"}, "no blanks"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    done = make("install-service", tmp_path / "stage", **variables)
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "stage").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_only_root_installs_for_real() -> None:
    done = subprocess.run(
        ["deploy/install.sh", "install"], cwd=ROOT, capture_output=True, text=True, check=False, user="nobody"
    )
    assert done.returncode == 1
    assert "must be run as root" in done.stderr
