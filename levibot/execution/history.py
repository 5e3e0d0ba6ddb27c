"""A checksum of all events of a database: one flipped bit in years of history is found at the next opening.

SQLite checks the structure of its pages, and nothing of what is written in them.
"""

from __future__ import annotations

from zlib import crc32

from levibot.errors import CorruptStoreError
from levibot.execution.store import Store


def extended(checksum: int, body: bytes) -> int:
    """Checksum of a history after one more event; of none it is 0."""
    return crc32(body, checksum)


def verified(store: Store, key: str, last: int, expected: int | None) -> int:
    """Read all events, and give their checksum.

    Parameters
    ----------
    store
        With a table `events`.
    key
        Its primary key, which counts from 1.
    last
        Key of the newest.
    expected
        What was stored with it; None: the file is older than checksums.

    Raises
    ------
    CorruptStoreError
        If an event is missing, or is not what was written.
    """
    found, count = 0, 0
    for (body,) in store.each(f"SELECT body FROM events ORDER BY {key}"):
        found = crc32(body, found)
        count += 1
    if count != last:
        raise CorruptStoreError(store.path, f"the content is damaged ({count} events instead of {last})")
    if expected is not None and found != expected:
        raise CorruptStoreError(store.path, "the content is damaged (an event is not what was written)")
    return found
