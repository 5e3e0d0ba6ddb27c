"""How far the market was played: a restarted feed goes on there, the market stood still meanwhile."""

from __future__ import annotations

from pathlib import Path

from levibot.clock import wall_ms
from levibot.durable import read_document, set_aside, write_document
from levibot.errors import CorruptStoreError

_SCHEMA = 1


class ProgressStore:
    """One small JSON file.

    Parameters
    ----------
    path
        The file.
    key
        Settings of the source, in words: another source has a progress of its own.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._markets: dict[str, int] = {}  # event time in ms by key

    def load(self) -> int | None:
        """Event time in ms to go on from, or None for a market that was never played.

        Raises
        ------
        CorruptStoreError
            If the file is damaged; it has been set aside, and the next `load` finds none.
        NewerSchemaError
            If a newer LeviBot wrote it.
        """
        try:
            document = read_document(self._path, _SCHEMA)
            if document is None:
                return None
            markets = document.get("markets")
            if not isinstance(markets, dict) or not all(type(value) is int for value in markets.values()):
                raise CorruptStoreError(self._path, '"markets" is no object of whole numbers')
        except CorruptStoreError as error:
            aside = set_aside(self._path)
            raise CorruptStoreError(
                self._path, f"{error.reason}; kept as {aside.name}, the market begins anew"
            ) from error
        self._markets = markets
        return self._markets.get(self._key)

    def save(self, event_ms: int) -> None:
        """Store how far the market is; DataStoreError if it cannot, and the former state is whole."""
        self._markets[self._key] = event_ms
        write_document(self._path, {"schema": _SCHEMA, "markets": self._markets, "saved_ms": wall_ms()})
