"""Which versions of a model served, one after the other: a file beside them that only grows.

A change is on disk before the link is switched. So one that a crash kept from taking effect can be told: the
next change knows of the same version before it, or the link still leads there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from levibot.durable import append_durably, read_bytes

HISTORY = "history.jsonl"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Another version began to serve.

    Parameters
    ----------
    at_ms, at_utc
        When.
    action
        ``promote``, or ``rollback`` to a version that served before.
    version, previous
        What serves from then on, and what served until then; empty: nothing.
    who
        User who asked for it.
    why
        For people.
    """

    at_ms: int
    at_utc: str
    action: Literal["promote", "rollback"]
    version: str
    previous: str
    who: str = ""
    why: str = ""


def append_change(folder: Path, change: Change) -> None:
    """Add a change to the history in `folder`, and wait until it is on disk.

    Raises
    ------
    DataStoreError
        If the disk refused; the history is as it was.
    """
    path = folder / HISTORY
    content = read_bytes(path)
    is_cut = bool(content) and not (content or b"").endswith(b"\n")  # by a crash: begin another line
    append_durably(path, (b"\n" if is_cut else b"") + msgspec.json.encode(change) + b"\n")


def read_changes(folder: Path, current: str) -> tuple[list[Change], int]:
    """The changes that took effect, oldest first, and how many lines are none.

    Parameters
    ----------
    folder
        Of the model.
    current
        Version that serves; empty: none.

    Raises
    ------
    DataStoreError
        If the file cannot be read.
    """
    found: list[Change] = []
    damaged = 0
    for line in (read_bytes(folder / HISTORY) or b"").splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Change))
        except msgspec.DecodeError:
            damaged += 1
    taken = [change for change, later in pairwise(found) if later.previous != change.previous]
    return [*taken, *(change for change in found[-1:] if change.previous != current)], damaged


def served_before(changes: Sequence[Change]) -> list[str]:
    """Versions to roll back to, the nearest first: a rollback goes back one step, and the next one further."""
    before: list[str] = []
    for change in changes:
        if change.action == "rollback":
            if change.version in before:  # or the link led astray, and back
                while before.pop() != change.version:
                    pass
        elif change.previous:
            before.append(change.previous)
    return before[::-1]
