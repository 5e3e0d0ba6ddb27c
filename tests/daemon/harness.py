"""A real daemon in a folder of its own, and what tests do with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from levibot.api.client import ApiClient, NotRunningError
from tests.deadline import wait_for
from tests.exchange.running import RunningExchange

# How long a worker may be silent or take to stop is left as it is: a slow machine is no hung worker. Tests of
# these limits set their own.
FAST: dict[str, Any] = {
    "api.port": 0,
    "engine.strategy": "sma_cross",
    "inference.processes": 0,
    "symbols": ["BTC/USDT", "ETH/USDT"],
    "policy.engine.heartbeat_interval": 0.1,
    "policy.feed.heartbeat_interval": 0.1,
    "policy.broker.heartbeat_interval": 0.1,
    "supervisor.sample_interval": 0.2,
    "supervisor.ballast_mb": 1,
    "feed.tick_hz": 20.0,
    "feed.speed": 120.0,
}
FAULTS = "tests.daemon.strategies"


def live_settings(exchange: RunningExchange) -> dict[str, Any]:
    """Dotted keys that make a daemon stream from a loopback exchange."""
    place = exchange.connection()
    urls = {f'exchange.urls."{key}"': url for key, url in place.urls.items()}
    return {"feed.source": "ccxt", "exchange.id": place.id, **urls}


class DaemonUnderTest:
    """``python -m levibot`` on its own data directory.

    Parameters
    ----------
    folder
        Where everything lies; short enough for sockets.
    settings
        Dotted keys of `supervisor.toml`, over `FAST`.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.config = folder / "supervisor.toml"
        self.data = folder / "var"
        self.state = self.data / "paper-simulated-default"
        self.settings: dict[str, Any] = {**FAST, **{key.replace("__", "."): v for key, v in settings.items()}}
        self.write_config()
        self.api = ApiClient(self.data / "run" / "api.sock", timeout=90.0)
        self.process: subprocess.Popen[str] | None = None

    def write_config(self, **settings: Any) -> None:
        """Write the file, with further settings; tables that are there stay."""
        self.settings |= {key.replace("__", "."): value for key, value in settings.items()}
        lines = [f"{key} = {_toml(value)}" for key, value in self.settings.items()]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *, ready: bool = True, cwd: Path | None = None, **environ: str) -> None:
        """Start it, in `cwd`, whose code it then runs; with `ready`, wait for every engine that is wanted."""
        # A copy of the code elsewhere is gone when coverage is reported: it is not measured.
        inherited = {name: v for name, v in os.environ.items() if cwd is None or not name.startswith("COVERAGE")}
        with (self.folder / "daemon.out").open("a", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "levibot", "-c", str(self.config), "--no-table"],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env={**inherited, **environ},
                start_new_session=True,
                text=True,
            )
        # A first model may be trained before.
        wait_for(self._answers, "the daemon to answer", seconds=60, every=0.05)
        if ready:
            self.wait_ready()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.output()}")
        try:
            self.status()
        except NotRunningError:
            return False
        return True

    def wait_ready(self, *symbols: str, seconds: float = 60.0) -> None:
        """Wait until these engines, or all, are ready."""

        def all_ready() -> bool:
            engines = self.status()["engines"]
            return all(e["ready"] for e in engines if not symbols or e["symbol"] in symbols)

        try:
            wait_for(all_ready, "engines to be ready", seconds=seconds, every=0.05)
        except AssertionError as error:
            brief = [
                (e["symbol"], e["status"], e["waiting_for"], e["last_error"]) for e in self.status()["engines"]
            ]
            raise AssertionError(f"{error}: {brief}") from error

    def status(self) -> dict[str, Any]:
        """The status document."""
        document: dict[str, Any] = self.api.get("/engines/status")
        return document

    def engine(self, symbol: str = "BTC/USDT") -> dict[str, Any]:
        """One engine's entry."""
        return next(entry for entry in self.status()["engines"] if entry["symbol"] == symbol)

    def worker(self, name: str) -> dict[str, Any]:
        """Feed's or broker's entry."""
        return next(entry for entry in self.status()["workers"] if entry["worker"] == name)

    def wait_replaced(self, worker: str, first: int) -> dict[str, Any]:
        """Wait until another process than `first` of `worker` is ready; its entry, all of one moment."""

        def found() -> dict[str, Any] | None:
            status = self.status()
            entry = next(e for e in [*status["engines"], *status["workers"]] if e["worker"] == worker)
            return entry if entry["ready"] and entry["pid"] not in (None, first) else None

        entry: dict[str, Any] = self.wait(found, f"a new process of {worker}", seconds=60)
        return entry

    def post(self, path: str) -> Any:
        """Answer to a command."""
        return self.api.post(path)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait for a condition that asks the daemon."""
        return wait_for(condition, what, seconds=seconds, every=0.05)

    def events(self, name: str | None = None, worker: str = "supervisor") -> list[dict[str, Any]]:
        """Records of a log, of one event or all."""
        records = [
            json.loads(line)
            for path in sorted((self.data / "logs").glob(f"{worker}-????????.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return [record for record in records if name is None or record["event"] == name]

    def output(self) -> str:
        """What it printed."""
        return (self.folder / "daemon.out").read_text(encoding="utf-8")

    def processes(self) -> list[psutil.Process]:
        """All processes of this daemon, itself included: known by their fences and its command line."""
        mine = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if (
                    environment.get("LEVIBOT_TEST_HOME") == str(self.folder)
                    or str(self.config) in process.cmdline()
                ):
                    mine.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return mine

    def engine_processes(self) -> list[str]:
        """Names of the processes that are engines."""
        return sorted(name for process in self.processes() if (name := process.name()).endswith("-USDT"))

    def worker_pids(self) -> dict[str, int]:
        """Pid of every worker that runs."""
        status = self.status()
        return {e["worker"]: e["pid"] for e in [*status["engines"], *status["workers"]] if e["pid"]}

    def kill(self) -> None:
        """kill -9 the supervisor alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(40)

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Stop it as systemd would; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(seconds)

    def clean_up(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.processes():
            process.kill()


@contextmanager
def daemon(folder: Path, **settings: Any) -> Iterator[DaemonUnderTest]:
    """A daemon that is gone when the block ends, with all its processes."""
    under_test = DaemonUnderTest(folder, **settings)
    os.environ["LEVIBOT_TEST_HOME"] = str(folder)
    try:
        yield under_test
    finally:
        under_test.clean_up()
        os.environ.pop("LEVIBOT_TEST_HOME", None)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)
