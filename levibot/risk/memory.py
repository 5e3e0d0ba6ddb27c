"""What risk must remember over a restart: latches, locks, the day's starting equity, the last equity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, Field, ValidationError

from levibot.config_base import Section
from levibot.durable import keep_aside, read_document, write_document
from levibot.errors import CorruptStoreError, DataStoreError
from levibot.risk.day import DayStart, Valuation
from levibot.risk.protections import ProtectionsState
from levibot.risk.trips import TripsState

_SCHEMA: Final = 2
_STORE_EVERY_NS = 10_000_000_000


class Latch(Section):
    """A stop that holds until it is cleared."""

    reason: str
    since: AwareDatetime
    who: str = ""
    flatten: bool = False  # of the kill switch: the positions are to be closed
    halted: bool = False  # they are


class _Content(Section):
    latches: dict[str, Latch] = Field(default_factory=dict)
    day_start: DayStart | None = None
    last: Valuation | None = None
    protections: ProtectionsState = Field(default_factory=ProtectionsState)
    trips: TripsState = Field(default_factory=TripsState)
    granted: list[int] = Field(default_factory=list)  # event times of the last minute's grants


class RiskMemory:
    """``risk.json``: latches and locks are written at once, the rest every ten seconds.

    Trades that closed since the last write are found again: they follow from the broker's events after it. A
    full disk is counted in `refused`; memory goes on, and is written when there is room.

    Parameters
    ----------
    path
        The file.
    wall_ms
        Unix time in milliseconds, for the stamps of latches.

    Attributes
    ----------
    set_aside
        Where the content of a damaged file is kept, if there was one.

    Raises
    ------
    NewerSchemaError
        If a later LeviBot wrote the file.
    DataStoreError
        If it cannot be read, or a damaged file cannot be set aside.
    """

    def __init__(self, path: Path, wall_ms: Callable[[], int]) -> None:
        self.refused = 0
        self._path = path
        self._wall_ms = wall_ms
        content, self.set_aside = _load(path)
        self.latches = content.latches
        self.day_start = content.day_start
        self.last = content.last
        self.protections = content.protections
        self.trips = content.trips
        self.granted = content.granted
        self._written: _Content | None = content
        self._stored_ns = 0

    def latch(self, name: str, reason: str, who: str) -> bool:
        """Set a latch; False if it was set before, which changes nothing."""
        if name in self.latches:
            return False
        since = datetime.fromtimestamp(self._wall_ms() / 1000, UTC)
        self.latches = {**self.latches, name: Latch(reason=reason, since=since, who=who)}
        self._store()
        return True

    def change_latch(self, name: str, latch: Latch) -> None:
        """Put `latch` in the place of the one of this name."""
        self.latches = {**self.latches, name: latch}
        self._store()

    def unlatch(self, name: str) -> bool:
        """Clear a latch; False if it is not set."""
        if name not in self.latches:
            return False
        self.latches = {other: latch for other, latch in self.latches.items() if other != name}
        self._store()
        return True

    def begin_day(self, day: int) -> bool:
        """Start a UTC day with the last equity that was known before it; False if it is no new one."""
        if self.day_start is None or self.last is None or day <= self.day_start.day:
            return False
        self.day_start = DayStart.of(day, self.last)
        self._store()
        return True

    def value(self, now: Valuation) -> DayStart:
        """Take the newest equity, and return the start of the day; the very first is its own."""
        self.last = now
        if self.day_start is None:
            self.day_start = DayStart.of(now.day, now)
            self._store()
        return self.day_start

    def remember(self, protections: ProtectionsState, trips: TripsState, granted: list[int], *, now: bool) -> None:
        """Take what changes with trades, equity and grants, to be written `now` or with the next write."""
        self.protections, self.trips, self.granted = protections, trips, granted
        if now:
            self._store()

    def forget_day(self) -> None:
        """Let the day start anew with the next equity."""
        self.day_start = None

    def is_due(self, now_ns: int) -> bool:
        """Whether the last write is ten seconds ago, or failed."""
        return self._written is None or now_ns - self._stored_ns >= _STORE_EVERY_NS

    def store(self, now_ns: int) -> None:
        """Write what has changed."""
        self._stored_ns = now_ns
        self._store()

    def _store(self) -> None:
        content = _Content(
            latches=self.latches,
            day_start=self.day_start,
            last=self.last,
            protections=self.protections,
            trips=self.trips,
            granted=self.granted,
        )
        if content == self._written:
            return
        try:
            write_document(self._path, {"schema": _SCHEMA, **content.model_dump(mode="json")})
        except DataStoreError:
            self.refused += 1
            self._written = None
        else:
            self._written = content


def _load(path: Path) -> tuple[_Content, Path | None]:
    try:
        document = read_document(path, _SCHEMA)
        if document is None:
            return _Content(), None
        del document["schema"]
        return _Content.model_validate(document), None
    except (CorruptStoreError, ValidationError):
        return _Content(), keep_aside(path)
