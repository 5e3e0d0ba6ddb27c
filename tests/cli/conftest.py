"""The real `levibotctl` as a process, and a small daemon for it to talk to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.small_daemon import SmallDaemon, serving
from tests.programs import LEVIBOTCTL


@dataclass
class Place:
    """A configuration file and the folders that it names."""

    config: Path
    data: Path
    run: Path

    @property
    def environ(self) -> dict[str, str]:
        # COLUMNS, which a parallel test run sets, would be taken for the width that a user wants.
        return {k: v for k, v in os.environ.items() if not k.startswith("LEVIBOT_") and k != "COLUMNS"}

    def command(self, *arguments: str) -> list[str]:
        return [LEVIBOTCTL, "-c", str(self.config), *arguments]

    def ctl(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            text=True,
            timeout=110,
            stdin=subprocess.DEVNULL,
            env={**self.environ, **environ},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**self.environ, "PYTHONUNBUFFERED": "1"},
        )

    def serving(self, daemon: SmallDaemon) -> AbstractContextManager[None]:
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        return serving(daemon, self.run / "api.sock")


@pytest.fixture
def place(run_dir: Path) -> Place:
    config = run_dir / "supervisor.toml"
    config.write_text('symbols = ["BTC/USDT", "ETH/USDT"]\n[supervisor]\ndata_dir = "data"\n')
    return Place(config, run_dir / "data", run_dir / "data" / "run")


@pytest.fixture
def daemon() -> SmallDaemon:
    return SmallDaemon()


@pytest.fixture
def served(place: Place, daemon: SmallDaemon) -> Iterator[Place]:
    with place.serving(daemon):
        yield place


@pytest.fixture
def following(place: Place) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands that go on until they are stopped; stops what a test leaves running."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(place.popen(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
