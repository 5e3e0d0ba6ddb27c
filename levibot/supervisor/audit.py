"""What operators did: who, when, what and why, in a file that only grows; and in the histories of models.

Models are changed without a daemon as well, by several processes that take turns, each at the model's own history.
So these entries stay there, and are told beside the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import Any

import orjson

from levibot.api.caller import Caller
from levibot.durable import append_durably, read_bytes
from levibot.errors import DataStoreError
from levibot.ml.served import Change, Entry
from levibot.ml.store import ModelStore
from levibot.risk.stops import AUTOMATIC

AUDIT_FILE = "audit.jsonl"
_MOST_PENDING = 1_000
_AGAIN_SECONDS = 2.0


class AuditTrail:
    """One JSON object a line, each on disk before its command is answered.

    What the disk refuses is kept in memory and written as soon as it takes it; `refused` counts the attempts.

    Parameters
    ----------
    path
        The file; made with the first entry, readable by the daemon's user alone.
    wall_ms
        Unix time in milliseconds.
    failed
        Told of each refusal of the disk.
    """

    def __init__(self, path: Path, wall_ms: Callable[[], int], failed: Callable[[DataStoreError], None]) -> None:
        self.path = path
        self.refused = 0
        self.lost = 0  # entries that neither the disk nor memory had room for
        self._wall_ms = wall_ms
        self._failed = failed
        self._pending: deque[bytes] = deque()
        self._begun = False

    @property
    def unwritten(self) -> int:
        """Entries that are only in memory."""
        return len(self._pending)

    def record(self, caller: Caller, entry: Mapping[str, Any]) -> None:
        """Add an entry; it never raises.

        Parameters
        ----------
        caller
            Who.
        entry
            ``action``, ``subject``, ``options``, ``reason`` and ``outcome``; no secret is ever one of them.
        """
        at = _utc(self._wall_ms())
        who = {"name": caller.name, "way": caller.way, "uid": caller.uid, "pid": caller.pid}
        address = {"address": caller.address} if caller.address else {}
        self._pending.append(orjson.dumps({"at": at, **entry, "who": {**who, **address}}) + b"\n")
        if len(self._pending) > _MOST_PENDING:
            self._pending.popleft()
            self.lost += 1
        self.flush()

    def note(self, caller: Caller, action: str, subject: str, reason: str = "", outcome: str = "done") -> None:
        """Add an entry without options."""
        entry = {"action": action, "subject": subject, "options": {}, "reason": reason, "outcome": outcome}
        self.record(caller, entry)

    def on_latch(self, action: str, who: str, reason: str) -> None:
        """A stop was set or cleared; what operators did is recorded with their command."""
        if who == AUTOMATIC:
            self.note(Caller("process", AUTOMATIC), action.replace("_", "-"), "portfolio", reason)

    def flush(self) -> None:
        """Write what waits, if the disk takes it."""
        if not self._pending:
            return
        lines = b"".join(self._pending)
        try:
            append_durably(self.path, lines if self._begun else self._mended(lines))
        except DataStoreError as error:
            self.refused += 1
            self._failed(error)
        else:
            self._begun = True
            self._pending.clear()

    async def run(self) -> None:
        """Try again what the disk refused, for ever."""
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            self.flush()

    def newest(self, models: Path, count: int) -> list[dict[str, Any]]:
        """The last `count` entries, oldest first; parameters and errors as of `read_entries`."""
        return read_entries(self.path, models, count, b"".join(self._pending))

    def _mended(self, lines: bytes) -> bytes:
        """Behind a line that a crash cut short, begin another."""
        content = read_bytes(self.path)
        return b"\n" + lines if content and not content.endswith(b"\n") else lines


def read_entries(path: Path, models: Path, count: int, more: bytes = b"") -> list[dict[str, Any]]:
    """The last `count` entries of an audit file and of models, oldest first; a line cut short is left out.

    Parameters
    ----------
    path
        The file.
    models
        Folder of the models.
    count
        At most so many.
    more
        Lines that are not in the file yet.

    Raises
    ------
    DataStoreError
        If one of the files cannot be read.
    """
    lines = (read_bytes(path) or b"").splitlines() + more.splitlines()
    found: list[dict[str, Any]] = []
    for entry in _parsed(reversed(lines)):
        found.append(entry)
        if len(found) >= count:
            break
    of_models = sorted((_of_model(name, entry) for name, entry in ModelStore(models).history()), key=_at)
    return list(merge(found[::-1], of_models, key=_at))[-count:]


def _of_model(name: str, entry: Entry) -> dict[str, Any]:
    """An entry in the history of a model in the form of the audit."""
    options = {"previous": entry.previous} if isinstance(entry, Change) and entry.previous else {}
    return {
        "at": _utc(entry.at_ms),
        "action": entry.action,
        "subject": f"{name}/{entry.version}",
        "options": options,
        "reason": entry.why,
        "outcome": "done",
        "who": {"name": entry.who or "unknown", "way": "process", "uid": None, "pid": None},
    }


def _at(entry: Mapping[str, Any]) -> str:
    return str(entry["at"])


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _parsed(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(entry, dict) and "action" in entry and isinstance(entry.get("at"), str):
            yield entry
