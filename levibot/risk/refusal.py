"""Why an entry is refused."""

from __future__ import annotations


class RefusedError(Exception):
    """A request is refused; `name` is counted, `detail` explains it."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
