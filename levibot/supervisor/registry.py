"""What must survive the supervisor: desired state of every worker, and what was last known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypedDict, Unpack

from pydantic import ValidationError

from levibot.config_base import Section
from levibot.durable import read_document, set_aside, write_document
from levibot.errors import CorruptStoreError, DataStoreError
from levibot.supervisor.states import Desired, Observed

SCHEMA: Final = 1  # raise it with every change of `Entry`


class Entry(Section):
    """One worker."""

    desired: Desired = Desired.UP
    paused: bool = False
    observed: Observed = Observed.STOPPED  # last known; the process itself is the truth
    pid: int | None = None
    start_ticks: int | None = None  # with the pid, the identity of the process
    incarnation: int = 0  # starts so far
    position: str = ""  # last known, for people; the broker is the truth


class EntryChanges(TypedDict, total=False):
    """Fields of an `Entry` that are to change."""

    desired: Desired
    paused: bool
    observed: Observed
    pid: int | None
    start_ticks: int | None
    incarnation: int
    position: str


class Registry:
    """The entries, in memory and in a file that people can read.

    A full disk keeps the file as it was: `save` counts the refusal and tries again at the next call.

    Parameters
    ----------
    path
        The file.
    entries
        Its content, by worker name.
    set_aside
        Where a damaged file was moved to, if there was one. Nothing is known then of what the operator
        wanted, so the symbols start paused, with an alert.
    damage
        What was wrong with it.
    """

    def __init__(
        self, path: Path, entries: dict[str, Entry], set_aside: Path | None = None, damage: str = ""
    ) -> None:
        self.refused = 0  # writes
        self.set_aside = set_aside
        self.damage = damage
        self._path = path
        self._entries = entries
        self._written = dict(entries)

    @classmethod
    def open(cls, path: Path) -> Registry:
        """Registry of `path`, empty if there is no such file or if it was damaged.

        Raises
        ------
        NewerSchemaError
            If a later LeviBot wrote the file.
        DataStoreError
            If it cannot be read, or a damaged file cannot be set aside.
        """
        try:
            return cls(path, _read(path))
        except CorruptStoreError as error:
            return cls(path, {}, set_aside(path), error.reason)

    @property
    def workers(self) -> list[str]:
        """Names of all workers that are known."""
        return list(self._entries)

    def entry(self, worker: str) -> Entry:
        """What is known of `worker`; the defaults if nothing is."""
        return self._entries.get(worker, Entry())

    def update(self, worker: str, **changes: Unpack[EntryChanges]) -> Entry:
        """Change fields of `worker` in memory and return its new entry; `save` writes it."""
        entry = self.entry(worker).model_copy(update=dict(changes))
        self._entries[worker] = entry
        return entry

    def remove(self, worker: str) -> None:
        """Forget `worker`."""
        self._entries.pop(worker, None)

    def save(self) -> bool:
        """Write the file if anything changed since it was written.

        Returns
        -------
        bool
            Whether the file now says what memory says; a refusal is counted in `refused`.
        """
        if self._entries == self._written:
            return True
        document = {
            "schema": SCHEMA,
            "workers": {name: self._entries[name].model_dump(mode="json") for name in sorted(self._entries)},
        }
        try:
            write_document(self._path, document)
        except DataStoreError:
            self.refused += 1
            return False
        self._written = dict(self._entries)
        return True


def _read(path: Path) -> dict[str, Entry]:
    document = read_document(path, SCHEMA)
    if document is None:
        return {}
    workers = document.get("workers")
    if not isinstance(workers, dict):
        raise CorruptStoreError(path, 'has no object "workers"')
    try:
        return {name: Entry.model_validate(fields) for name, fields in workers.items()}
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CorruptStoreError(path, f"an entry is wrong at {key!r}: {first['msg']}") from error
