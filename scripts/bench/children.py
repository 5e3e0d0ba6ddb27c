"""Child processes that a benchmark speaks to by JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Child:
    """``python -m MODULE ARGUMENT…`` with a line of JSON in for a line of JSON out."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, document: dict[str, Any]) -> None:
        """Send a request without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child of the benchmark ended with exit code {self._process.wait()}")
        document: dict[str, Any] = json.loads(line)
        return document

    def ask(self, document: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.tell(document)
        return self.hear()

    def end(self) -> None:
        """Close its input, and kill it if that is not enough."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def children() -> Iterator[list[Child]]:
    """A list for children; all of them are ended with the block, the last one first."""
    started: list[Child] = []
    try:
        yield started
    finally:
        for child in reversed(started):
            child.end()
