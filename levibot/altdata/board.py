"""The last known values and when each source was asked, over restarts of the process."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec

from levibot.altdata.source import Reading
from levibot.bus.messages import AltData
from levibot.durable import keep_aside, read_document, write_document
from levibot.errors import CorruptStoreError

_SCHEMA = 1
_KEEP_MS = 7 * 86_400_000  # an expired value is shown for a week
_AHEAD_MS = 3_600_000  # clocks differ; what lies further ahead is nonsense
_ASSET = re.compile(r"[A-Z0-9]{0,20}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Asked(msgspec.Struct):
    """When a source was asked last, in Unix ms."""

    settings: str  # of the source then: with others it is asked anew
    fetched_ms: int = 0  # answered without a failure
    assets: tuple[str, ...] = ()  # that it was asked about then
    closed_until_ms: int = 0  # it wants to be asked nothing


class _Document(msgspec.Struct):
    schema: int
    sources: dict[str, Asked]
    values: list[AltData]


class Board:
    """Values by source, asset and name; a newer one takes the place of an older.

    Parameters
    ----------
    path
        File that it is kept in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: dict[str, Asked] = {}
        self._values: dict[tuple[str, str, str], AltData] = {}
        self.damage = ""  # of the file, when it was loaded

    def load(self, settings: dict[str, str]) -> None:
        """Take up what the process before has left, of the sources that there still are.

        Parameters
        ----------
        settings
            By source, what changes with its configuration; values of other settings are forgotten.

        Raises
        ------
        DataStoreError
            If the file cannot be read, or is of a newer LeviBot. A damaged one is kept aside.
        """
        try:
            document = self._read()
        except CorruptStoreError as error:
            self.damage = f"{error}; it is kept as {keep_aside(self._path)}, and everything is asked anew"
            return
        if document is None:
            return
        kept = {name for name, asked in document.sources.items() if settings.get(name) == asked.settings}
        self._asked = {name: document.sources[name] for name in kept}
        self._values = {
            _key(value): value for value in document.values if value.source in kept and math.isfinite(value.value)
        }

    def _read(self) -> _Document | None:
        document = read_document(self._path, _SCHEMA)
        if document is None:
            return None
        try:
            return msgspec.convert(document, _Document)
        except (msgspec.ValidationError, TypeError) as error:
            raise CorruptStoreError(self._path, f"is no board of alternative data: {error}") from error

    def asked(self, source: str, settings: str) -> Asked:
        """When `source` was asked; the caller keeps it true."""
        return self._asked.setdefault(source, Asked(settings))

    def take(self, value: AltData) -> None:
        """Keep a value that came now."""
        self._values[_key(value)] = value

    def live(self, now_ms: int) -> list[AltData]:
        """Values that are not too old to be used."""
        return [value for value in self._values.values() if now_ms < value.expires_ms]

    def all(self) -> list[AltData]:
        """Expired values too."""
        return list(self._values.values())

    def of(self, source: str) -> list[AltData]:
        """Values of one source, expired ones too."""
        return [value for value in self._values.values() if value.source == source]

    def forget_old(self, now_ms: int) -> None:
        """Drop what has been expired for long."""
        self._values = {k: v for k, v in self._values.items() if now_ms < v.expires_ms + _KEEP_MS}

    def content(self) -> bytes:
        """What is to be written; call `write` with it, in a thread."""
        return msgspec.json.encode(_Document(_SCHEMA, self._asked, self.all()))

    def write(self, content: bytes) -> None:
        """Write what `content` gave; DataStoreError if the disk refuses."""
        document: dict[str, Any] = msgspec.json.decode(content)
        write_document(self._path, document)


def why_unusable(reading: Reading, now_ms: int) -> str:
    """What makes no sense of a reading that a source gave at `now_ms`; empty if it is sound."""
    if not _ASSET.fullmatch(reading.asset) or not _NAME.fullmatch(reading.name):
        return f"{reading.asset[:20]!r} or {reading.name[:40]!r} is no name"
    if not math.isfinite(reading.value):
        return f"{reading.name} of {reading.asset or 'the market'} is {reading.value}"
    if reading.observed_ms > now_ms + _AHEAD_MS:
        return f"{reading.name} of {reading.asset or 'the market'} was observed in the future"
    return ""


def _key(value: AltData) -> tuple[str, str, str]:
    return value.source, value.asset, value.name
