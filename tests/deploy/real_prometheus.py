"""A real Prometheus that scrapes a real daemon with deploy/prometheus.yml, and is asked over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.deadline import wait_for
from tests.prometheus import DEPLOY, program

SCRAPE_SECONDS = 0.25


def free_port() -> int:
    """A TCP port of the loopback that nobody has now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class RealPrometheus:
    """What it knows.

    Parameters
    ----------
    port
        Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; HTTPError if it does not like the question."""
        with urlopen(f"{self.url}/{path}?{urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Series that an instant query gives."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            self.ask("status/buildinfo")
        except (URLError, ConnectionError):
            return False
        return True


@contextmanager
def prometheus(folder: Path, daemon_port: int) -> Iterator[RealPrometheus]:
    """Debian's Prometheus with our own configuration, but for the daemon's port and the haste of a test."""
    executable, port = program("prometheus"), free_port()
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{daemon_port}"]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    options = {
        "config.file": path,
        "storage.tsdb.path": folder / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "prometheus.out").open("wb") as output:
        command = [executable, *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        peer = RealPrometheus(port)
        wait_for(peer.answers, "Prometheus to answer", seconds=60)
        yield peer
    finally:
        process.terminate()
        process.wait(60)
