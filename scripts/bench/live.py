"""A real daemon on data and sockets of its own, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from levibot.api.client import ApiClient, ApiError, NotRunningError, symbol_path
from scripts.bench.children import ROOT
from tests.programs import LEVIBOTCTL

T = TypeVar("T")
Document = dict[str, Any]


def symbols(count: int) -> list[str]:
    """Names of symbols for the simulated exchange."""
    return [f"S{number:03}/USDT" for number in range(count)]


def wait_for(
    condition: Callable[[], T | None],
    what: str,
    seconds: float = 60.0,
    every: float = 0.005,
    patience: float = 0.0,
) -> T:
    """First true value of `condition`; RuntimeError, naming `what`, if none comes in time.

    Parameters
    ----------
    condition, what
        What is waited for.
    seconds
        How long.
    every, patience
        Pause between two looks: at least `every` seconds, and `patience` times as long as the look took.
    """
    end = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:g} s in vain for {what}")
        # Asking must not slow down what is waited for; a status of 200 engines takes 15 ms of both sides.
        time.sleep(max(every, patience * (time.monotonic() - asked)))


class LiveDaemon:
    """One daemon, its configuration, its HTTP interface and its log.

    Parameters
    ----------
    directory
        For configuration, state and sockets.
    count
        How many symbols it trades.
    tick_hz
        Ticks a second and symbol.
    settings
        More lines for the configuration, by section.
    """

    def __init__(self, directory: Path, count: int, tick_hz: float, **settings: dict[str, Any]) -> None:
        self.symbols = symbols(count)
        self.directory = directory
        self.config = directory / "supervisor.toml"
        sections: dict[str, dict[str, Any]] = {
            "supervisor": {"data_dir": str(directory / "data"), "run_dir": str(directory / "run")},
            "feed": {"source": "simulated", "speed": 1.0, "tick_hz": tick_hz},
            "engine": {"strategy": "sma_cross"},  # rows that measure the pool ask for it
            "inference": {"processes": 0},
            "api": {"port": 0},
        }
        for name, values in settings.items():
            sections.setdefault(name, {}).update(values)
        self.config.write_text(_toml(self.symbols, sections), encoding="utf-8")
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.client = ApiClient(directory / "run" / "api.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon in the foreground of a process of its own."""
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "levibot", "-c", str(self.config)],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def levibotctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of levibotctl for this daemon; CalledProcessError if it fails."""
        command = [LEVIBOTCTL, "-c", str(self.config), *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, check=True, text=True, capture_output=True
        )

    @property
    def pid(self) -> int:
        """Process of the supervisor."""
        pid = self.status()["daemon"]["pid"] if self.process is None else self.process.pid
        return int(pid)

    def status(self) -> Document:
        """The status document, empty while nobody answers."""
        try:
            document: Document = self.client.get("/engines/status")
        except (NotRunningError, ApiError):
            return {}
        return document

    def engine(self, symbol: str) -> Document:
        """Status of one engine."""
        document: Document = self.client.get(symbol_path("/engines/status", symbol))
        return document

    def wait_until_ready(self, seconds: float = 60.0) -> Document:
        """Wait until every engine is ready; the status then."""

        def ready() -> Document | None:
            status = self.status()
            return status if status and status["running"] == len(self.symbols) else None

        try:
            return wait_for(ready, "all engines to be ready", seconds, every=0.01, patience=5.0)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self._last_words()}") from error

    def reset(self) -> None:
        """Give all restart budgets back."""
        self.client.post("/engines/reset")

    def records(self) -> list[Document]:
        """The supervisor's log."""
        return [
            json.loads(line)
            for path in sorted((self.directory / "data" / "logs").glob("supervisor-*.jsonl"))
            for line in path.read_bytes().split(b"\n")
            if line
        ]

    def event_time(self, event: str, worker: str, after: float) -> float:
        """Unix seconds of the first such event of a worker after `after`, from the supervisor's log."""

        def found() -> float | None:
            for record in self.records():
                when = datetime.fromisoformat(record["ts"]).timestamp()
                if record["event"] == event and record.get("worker") == worker and when >= after:
                    return when
            return None

        return wait_for(found, f"{event} of {worker} in the log", every=0.05)

    def tree(self) -> list[psutil.Process]:
        """The supervisor's process and all below it."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def bury(self) -> None:
        """Reap a supervisor that was killed."""
        if self.process is not None:
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Stop the daemon and kill whatever does not go."""
        tree = self.tree() if self.process is not None or self.status() else []
        if tree:
            tree[0].send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(tree, timeout=20)
        for process in alive:
            process.kill()
        self.bury()

    def _last_words(self) -> str:
        output = (self.directory / "output").read_text(errors="replace")[-1000:]
        log = "\n".join(json.dumps(record) for record in self.records()[-5:])
        return f"{output}\n{log}"


@contextmanager
def open_daemon(count: int, tick_hz: float, **settings: dict[str, Any]) -> Iterator[LiveDaemon]:
    """A daemon on a temporary folder, not started; stopped with the block."""
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        daemon = LiveDaemon(Path(name), count, tick_hz, **settings)
        try:
            yield daemon
        finally:
            daemon.stop()


def _toml(names: list[str], sections: dict[str, dict[str, Any]]) -> str:
    # JSON of texts, numbers and lists is TOML too; a table is written inline.
    lines = [f"symbols = {json.dumps(names)}"]
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
