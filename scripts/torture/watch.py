"""What the broker's books say while it trades and dies: each look opens them anew, so that none is held open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


class BookWatch:
    """Looks into ``broker.sqlite``.

    Parameters
    ----------
    path
        The file; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def fills(self) -> int:
        """Fills so far."""
        return self._number("SELECT COALESCE(MAX(rowid), 0) FROM fills")

    def in_flight(self) -> int:
        """Entries and exits that are not at their end; stops and targets rest and do not count."""
        return self._number(
            "SELECT COUNT(*) FROM orders WHERE open = 1 AND (client_id LIKE '%-E' OR client_id LIKE '%-X')"
        )

    def _number(self, query: str) -> int:
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
                (number,) = connection.execute(query).fetchone()
        except sqlite3.OperationalError:  # not made yet, or its log is being recovered
            return 0
        return int(number)
