"""When the exchange wants to be left alone: obeyed by all processes, and kept over restarts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from levibot.clock import boot_ns, wall_ms
from levibot.durable import read_document, set_aside, write_document
from levibot.errors import CorruptStoreError

FILE = "exchange-cooldown.json"

_SCHEMA = 1
_FIRST_S, _LONGEST_S = 5.0, 300.0  # where the exchange does not say how long
_MOST_S = 3 * 86_400.0  # the longest ban that is known
_NS = 1_000_000_000


class CoolDown:
    """One small file that feed, broker and downloads share.

    Parameters
    ----------
    path
        The file; beside it lies a lock, since several processes write.
    now_ns
        Clock for what remains. A time in the file is wall time, to survive a reboot.
    now_ms
        Wall clock.
    """

    def __init__(
        self, path: Path, now_ns: Callable[[], int] = boot_ns, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self.path = path
        self.reason = ""
        self._now_ns = now_ns
        self._now_ms = now_ms
        self._until_ns = 0
        self._seen: tuple[int, int] | None = None  # inode and change of the file as it was read
        self._unasked = 0  # in a row, since the exchange last said nothing of how long
        self._dirty = False

    def remaining_s(self) -> float:
        """Seconds until the exchange may be asked again; 0: now.

        Another process may have been told to wait: the file is read again when it has changed.
        """
        self._look()
        return max(0.0, (self._until_ns - self._now_ns()) / _NS)

    @property
    def until_ms(self) -> int | None:
        """Wall time at which it ends, Unix ms; None while there is none."""
        remaining_s = self.remaining_s()
        return self._now_ms() + int(remaining_s * 1000) if remaining_s else None

    def begin(self, seconds: float | None, reason: str) -> None:
        """Send nothing for a while, from now on; `save` makes it hold for others and after a restart.

        Parameters
        ----------
        seconds
            As the exchange said; None: it said nothing, so 5 s, and twice as long each time, 300 s at most.
        reason
            For people.
        """
        if self.remaining_s() > 0 and seconds is None:
            return  # several answers to requests that were under way
        if seconds is None:
            seconds = min(_LONGEST_S, _FIRST_S * 2**self._unasked)
            self._unasked += 1
        until_ns = self._now_ns() + int(min(seconds, _MOST_S) * _NS)
        if until_ns > self._until_ns:
            self._until_ns, self.reason, self._dirty = until_ns, reason, True

    def relax(self) -> None:
        """A request went well: the next cool-down without a length is a short one again."""
        self._unasked = 0

    def save(self) -> None:
        """Store it, unless the file holds a longer one; may block, so call it in a thread.

        Raises
        ------
        DataStoreError
            If it cannot be written; it holds in this process all the same.
        """
        if not self._dirty:
            return
        self._dirty = False
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._look()
            now_ms = self._now_ms()
            until_ms = now_ms + max(0, self._until_ns - self._now_ns()) // 1_000_000
            document = {"schema": _SCHEMA, "saved_ms": now_ms, "until_ms": until_ms, "reason": self.reason}
            write_document(self.path, document)
        finally:
            os.close(lock)

    def _look(self) -> None:
        try:
            stat = self.path.stat()
        except OSError:
            return  # none was ever begun, or what we know must do
        if (seen := (stat.st_ino, stat.st_mtime_ns)) == self._seen:
            return
        self._seen = seen
        try:
            document = read_document(self.path, _SCHEMA)
            if document is not None:
                self._merge(document)
        except CorruptStoreError:
            set_aside(self.path)  # what is lost is at worst one more refusal, which begins the next

    def _merge(self, document: dict[str, object]) -> None:
        saved_ms, until_ms, reason = (document.get(key) for key in ("saved_ms", "until_ms", "reason"))
        if not isinstance(saved_ms, int) or not isinstance(until_ms, int) or not isinstance(reason, str):
            raise CorruptStoreError(self.path, '"saved_ms", "until_ms" or "reason" is missing')
        # a wall clock that was set back must not make it longer than it was
        remaining_ms = min(until_ms - self._now_ms(), until_ms - saved_ms, int(_MOST_S * 1000))
        until_ns = self._now_ns() + remaining_ms * 1_000_000
        if until_ns > self._until_ns:
            self._until_ns, self.reason = until_ns, reason
