"""Which versions of a model served, one after the other, and which were removed: a file that only grows.

A change is on disk before the link is switched. So one that a crash kept from taking effect can be told: the
next change knows of the same version before it, or the link still leads there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from levibot.durable import append_durably, read_bytes

HISTORY = "history.jsonl"
_UnixMs = Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]  # before the year 10000: it can be written as a date


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

    at_ms: _UnixMs
    at_utc: str
    action: Literal["promote", "rollback"]
    version: str
    previous: str
    who: str = ""
    why: str = ""


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """A version was removed; what it was judged on is kept.

    Parameters
    ----------
    at_ms, at_utc, who, why
        As of `Change`.
    version
        That is gone.
    test_from_ms, test_until_ms
        Of its test span; 0: its manifest could not be read.
    digests
        As of `Manifest.digests`.
    """

    at_ms: _UnixMs
    at_utc: str
    action: Literal["prune"] = "prune"
    version: str
    test_from_ms: int = 0
    test_until_ms: int = 0
    digests: tuple[str, ...] = ()
    who: str = ""
    why: str = ""


Entry = Change | Pruned
_KINDS: tuple[type[Change] | type[Pruned], ...] = (Change, Pruned)


def append_entries(folder: Path, *entries: Entry) -> None:
    """Add to the history in `folder`, and wait until all of it is on disk.

    Raises
    ------
    DataStoreError
        If the disk refused; the history is as it was.
    """
    path = folder / HISTORY
    content = read_bytes(path)
    is_cut = bool(content) and not (content or b"").endswith(b"\n")  # by a crash: begin another line
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    append_durably(path, (b"\n" if is_cut else b"") + lines)


def read_entries(folder: Path, current: str) -> tuple[list[Entry], int]:
    """What took effect, oldest first, and how many lines are damaged.

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
    found: list[Entry] = []
    damaged = 0
    for line in (read_bytes(folder / HISTORY) or b"").splitlines():
        entry = _parsed(line)
        if entry is None:
            damaged += 1
        else:
            found.append(entry)
    taken, after = [], current  # what served before the next change
    for entry in reversed(found):
        if isinstance(entry, Change):
            later, after = after, entry.previous
            if later == entry.previous:
                continue
        taken.append(entry)
    return taken[::-1], damaged


def read_changes(folder: Path, current: str) -> tuple[list[Change], int]:
    """The changes among `read_entries`, with its arguments and errors."""
    found, damaged = read_entries(folder, current)
    return [entry for entry in found if isinstance(entry, Change)], damaged


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


def _parsed(line: bytes) -> Entry | None:
    for kind in _KINDS:
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            continue
    return None
