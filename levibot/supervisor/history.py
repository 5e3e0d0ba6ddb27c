"""The restarts that were carried out, on disk, so that a budget survives the supervisor."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from levibot import clock
from levibot.durable import append_durably, name_aside, read_bytes, write_atomic
from levibot.errors import DataStoreError, NewerSchemaError

_VERSION: Final = 1
_COMPACT_AT = 5_000  # lines


class _Line(msgspec.Struct, frozen=True, tag_field="kind"):
    worker: str
    v: int = _VERSION


class _Restarted(_Line, frozen=True, tag="restarted", kw_only=True):
    cause: str
    boot: str  # identity of the boot in which `boot_seconds` was taken
    boot_seconds: float
    wall_ms: int


class _Cleared(_Line, frozen=True, tag="cleared"):
    """The operator's reset: what came before no longer counts against the budget."""


class _Totals(_Line, frozen=True, tag="totals", kw_only=True):
    """Restarts by cause that are no longer listed one by one."""

    causes: dict[str, int]


class _Version(msgspec.Struct):
    v: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where the history takes its stamps from.

    Parameters
    ----------
    boot
        Identity of this boot.
    boot_seconds
        CLOCK_BOOTTIME in seconds.
    wall_ms
        Unix time in milliseconds.
    """

    boot: str
    boot_seconds: Callable[[], float]
    wall_ms: Callable[[], int]

    @classmethod
    def system(cls) -> Clocks:
        """The clocks of this machine."""
        return cls(clock.boot_id(), clock.boot_seconds, clock.wall_ms)


class RestartHistory:
    """Append-only file of restarts, one JSON object a line.

    A full disk never stops supervision: what it refused is counted in `refused`, counts against the
    budget all the same, and is written with the next record that finds room.

    Parameters
    ----------
    path
        The file.
    keep_seconds
        The longest window that will be asked for; older restarts are folded into totals.
    clocks
        Source of the stamps.

    Raises
    ------
    NewerSchemaError
        If a later LeviBot wrote a line of the file.
    DataStoreError
        If the file cannot be read.
    """

    def __init__(self, path: Path, keep_seconds: float, clocks: Clocks | None = None) -> None:
        self.refused = 0  # writes
        self.corrupt_lines = 0  # found by this object; their text is kept in a file set aside
        self.set_aside: Path | None = None
        self._path = path
        self._keep = keep_seconds
        self._clocks = clocks or Clocks.system()
        self._listed: defaultdict[str, list[tuple[float, _Restarted]]] = defaultdict(list)
        self._folded: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._pending: list[bytes] = []
        self._lines = 0
        self._read()

    def record(self, worker: str, cause: str) -> None:
        """Note a restart that is being carried out now; on disk when this returns."""
        now = self._clocks.boot_seconds()
        made = _Restarted(
            worker, cause=cause, boot=self._clocks.boot, boot_seconds=now, wall_ms=self._clocks.wall_ms()
        )
        self._listed[worker].append((now, made))
        self._append(made)

    def clear(self, worker: str) -> None:
        """Give `worker` a fresh budget. The counts by cause stay."""
        self._fold(worker, self._listed.pop(worker, []))
        self._append(_Cleared(worker))

    def restarts(self, worker: str, window: float, now: float) -> list[float]:
        """Times of the restarts that count, oldest first.

        Parameters
        ----------
        worker
            Its name.
        window
            Seconds before `now` that count; the window is half open, ``(now - window, now]``.
        now
            CLOCK_BOOTTIME in seconds.

        Returns
        -------
        list of float
            CLOCK_BOOTTIME of this boot in seconds; negative before the boot, never later than `now`.
        """
        made = (moment for moment, _ in self._listed.get(worker, ()))
        return sorted(min(moment, now) for moment in made if moment + window > now)

    def causes(self, worker: str) -> dict[str, int]:
        """All restarts of `worker` that were ever recorded, counted by cause."""
        if worker not in self._listed and worker not in self._folded:
            return {}  # as of most: a scrape asks for all
        listed = Counter(made.cause for _, made in self._listed.get(worker, ()))
        return dict(self._folded.get(worker, Counter()) + listed)

    # ------------------------------------------------------------------ writing

    def _append(self, line: _Line) -> None:
        self._pending.append(_encode(line))
        try:
            append_durably(self._path, b"".join(self._pending))
        except DataStoreError:
            self.refused += 1
            return
        self._lines += len(self._pending)
        self._pending.clear()
        if self._lines >= _COMPACT_AT:
            self._compact()

    def _compact(self) -> None:
        now = self._clocks.boot_seconds()
        for worker, listed in self._listed.items():
            kept = [entry for entry in listed if entry[0] + self._keep > now]
            self._fold(worker, [entry for entry in listed if entry[0] + self._keep <= now])
            listed[:] = kept
        lines: list[_Line] = [
            _Totals(worker, causes=dict(causes)) for worker, causes in self._folded.items() if causes
        ]
        lines += [made for listed in self._listed.values() for _, made in listed]
        try:
            write_atomic(self._path, b"".join(map(_encode, lines)))
        except DataStoreError:
            self.refused += 1
            return
        self._lines = len(lines)
        self._pending.clear()

    def _fold(self, worker: str, listed: list[tuple[float, _Restarted]]) -> None:
        self._folded[worker].update(made.cause for _, made in listed)

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        data = read_bytes(self._path)
        if not data:
            return
        *lines, torn = data.split(b"\n")
        for line in filter(None, lines):
            if not self._apply(line):
                self.corrupt_lines += 1
        if torn:
            self._apply(torn)  # a crash cut the last line short; it may yet be whole but for its end
            self._pending.append(b"\n")
        self._lines = len(lines)
        if self._corrupt_lines_are_safe(data):
            self._compact()

    def _corrupt_lines_are_safe(self, data: bytes) -> bool:
        if not self.corrupt_lines:
            return True
        try:
            target = name_aside(self._path)
            write_atomic(target, data)
        except DataStoreError:
            self.refused += 1
            return False
        self.set_aside = target
        return True

    def _apply(self, text: bytes) -> bool:
        line = self._decode(text)
        match line:
            case _Restarted():
                self._listed[line.worker].append((self._in_this_boot(line), line))
            case _Cleared():
                self._fold(line.worker, self._listed.pop(line.worker, []))
            case _Totals():
                self._folded[line.worker].update(line.causes)
        return line is not None

    def _decode(self, text: bytes) -> _Restarted | _Cleared | _Totals | None:
        try:
            version = msgspec.json.decode(text, type=_Version).v
            if version > _VERSION:
                raise NewerSchemaError(
                    self._path, f"holds a line of version {version}, this LeviBot knows {_VERSION}; upgrade"
                )
            return msgspec.json.decode(text, type=_Restarted | _Cleared | _Totals)
        except msgspec.DecodeError:
            return None

    def _in_this_boot(self, made: _Restarted) -> float:
        """Boot time of a restart; across boots only the wall clock connects the two."""
        now = self._clocks.boot_seconds()
        if made.boot == self._clocks.boot:
            return min(made.boot_seconds, now)
        age = max(0, self._clocks.wall_ms() - made.wall_ms) / 1000
        return now - age


def _encode(line: _Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
