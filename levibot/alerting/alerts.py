"""The one place where alerts are raised and cleared: memory is the truth, the journal follows it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from levibot.alerting.alert import SEVERITIES, Alert, Change, Notice, Severity
from levibot.alerting.journal import AlertJournal
from levibot.errors import CorruptStoreError, DataStoreError, NewerSchemaError
from levibot.observability.logging import Logger

_KEPT_CLEARED = 1_000
_WAITING_NOTICES = 1_000  # of a disk that refuses; the oldest go first, and are counted
_RETRY = 1.0  # seconds
_DAMAGED = "alerts_damaged"


class Alerts:
    """The alerts that stand, and those of the last days.

    No disk holds the loop up: a thread writes, all that has changed at once. What a full or broken disk
    refuses is counted in `refused`, stands in memory all the same, and is written when there is room.

    Parameters
    ----------
    log
        Where raising and clearing are written.
    journal
        The database.
    source
        Which daemon this is, for whoever reads a notice.
    wall_ms
        Unix time in milliseconds.
    """

    def __init__(self, log: Logger, journal: AlertJournal, source: str, wall_ms: Callable[[], int]) -> None:
        self.refused = 0
        self._log = log
        self._journal = journal
        self._source = source
        self._wall_ms = wall_ms
        self._standing: dict[str, Alert] = {}
        self._cleared: deque[Alert] = deque(maxlen=_KEPT_CLEARED)
        self._inherited: set[str] = set()
        self._dirty: dict[str, Alert] = {}
        self._notices: deque[Notice] = deque()
        self._flush: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, "alerts")

    async def load(self) -> None:
        """Take over what stood when the daemon ended.

        Raises
        ------
        NewerSchemaError
            If a later LeviBot wrote the database.
        """
        try:
            alerts, damaged = await self._in_thread(self._journal.load)
        except NewerSchemaError:
            raise
        except DataStoreError as error:
            self._on_refusal(error)
            return
        for alert in alerts:
            if not alert.standing:
                self._cleared.append(alert)
            elif alert.key in self._standing:  # a second file's; one cause is one alert
                self._dirty[alert.id] = replace(alert, cleared_ms=self._wall_ms(), cleared_by="superseded")
            else:
                self._standing[alert.key] = alert
        self._inherited = set(self._standing)
        if damaged is not None:
            self._report_damage(damaged)

    # ------------------------------------------------------------------ raising and clearing

    def raise_alert(self, key: str, severity: Severity, message: str, remedy: str) -> None:
        """Raise an alert; one that stands under the same key is counted, and told again only if it got worse."""
        now = self._wall_ms()
        self._inherited.discard(key)
        alert = self._standing.get(key)
        if alert is None:
            alert = Alert(key, severity, message, remedy, now, now)
            self._put(alert, "raised")
            self._log.error("alert_raised", key=key, severity=severity, message=message, remedy=remedy)
            return
        worse = SEVERITIES.index(severity) > SEVERITIES.index(alert.severity)
        alert = replace(
            alert,
            severity=severity if worse else alert.severity,
            message=message,
            remedy=remedy,
            last_ms=now,
            raises=alert.raises + 1,
        )
        self._put(alert, "escalated" if worse else None)
        if worse:
            self._log.error("alert_escalated", key=key, severity=severity, message=message, remedy=remedy)

    def clear(self, key: str, by: str = "over") -> None:
        """Clear the alert under `key`, if one stands; `by` says why in a word."""
        alert = self._standing.pop(key, None)
        if alert is None:
            return
        self._inherited.discard(key)
        alert = replace(alert, cleared_ms=self._wall_ms(), cleared_by=by)
        self._cleared.append(alert)
        self._note(alert, "cleared")
        self._log.info("alert_cleared", key=key, by=by)

    def settle(self, still_owned: Callable[[str], bool]) -> None:
        """Clear what a life before raised and nobody has raised in this one, nor will clear.

        Parameters
        ----------
        still_owned
            Whether somebody of this life clears an alert of this key.
        """
        for key in list(self._inherited):
            if not still_owned(key):
                self.clear(key, "restarted")
        self._inherited.clear()

    def test(self) -> str:
        """Send a test through every channel; the notice's id, by which `outcomes` are asked."""
        now = self._wall_ms()
        text, remedy = "This is a test: alerts of this daemon reach you here.", "nothing is to be done"
        notice = Notice("test", Alert("test", "warning", text, remedy, now, now), self._source)
        self._notices.append(notice)
        self._flush_soon()
        return notice.id

    # ------------------------------------------------------------------ what is asked

    @property
    def channels(self) -> tuple[str, ...]:
        """Through which alerts are told."""
        return self._journal.channels

    def standing(self) -> list[Alert]:
        """All alerts that stand, oldest first."""
        return list(self._standing.values())

    def recent(self) -> list[Alert]:
        """Alerts of the last days, newest first."""
        return sorted([*self._cleared, *self._standing.values()], key=lambda alert: -alert.raised_ms)

    async def outcomes(self, notice: str) -> list[tuple[str, str]]:
        """What became of a notice, as `AlertJournal.outcomes`; empty while the disk has not taken it."""
        try:
            found: list[tuple[str, str]] = await self._in_thread(self._journal.outcomes, notice)
            return found
        except DataStoreError:
            return []

    # ------------------------------------------------------------------ the journal

    def _put(self, alert: Alert, change: Change | None) -> None:
        self._standing[alert.key] = alert
        self._note(alert, change)

    def _note(self, alert: Alert, change: Change | None) -> None:
        self._dirty[alert.id] = alert
        if change is not None and self._journal.channels:
            self._notices.append(Notice(change, alert, self._source))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush is None and self._retry is None:
            self._flush = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until nothing is left, or the disk refuses."""
        try:
            while self._dirty or self._notices:
                dirty, notices = self._dirty, list(self._notices)
                self._dirty = {}
                self._notices.clear()
                try:
                    await self._in_thread(self._journal.write, list(dirty.values()), notices)
                except DataStoreError as error:
                    self._dirty = dirty | self._dirty
                    self._notices.extendleft(reversed(notices))
                    await self._recover(error)
                    return
        finally:
            self._flush = None

    async def _recover(self, error: DataStoreError) -> None:
        self._on_refusal(error)
        while len(self._notices) > _WAITING_NOTICES:
            self._notices.popleft()
            self.refused += 1
        if isinstance(error, CorruptStoreError):
            try:
                damaged = await self._in_thread(self._journal.renew)
            except DataStoreError as another:
                self._on_refusal(another)
            else:
                self._dirty |= {alert.id: alert for alert in [*self._cleared, *self._standing.values()]}
                if self._journal.channels:  # whether it was told before is lost; a receiver knows it by its id
                    self._notices.extend(Notice("raised", alert, self._source) for alert in self.standing())
                self._report_damage(damaged)
        # Last: a timer that goes off while this writer is at it would begin nothing.
        self._retry = asyncio.get_running_loop().call_later(_RETRY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._flush_soon()

    def _on_refusal(self, error: DataStoreError) -> None:
        self.refused += 1
        if self.refused == 1:
            self._log.error("alerts_not_written", error=str(error))

    def _report_damage(self, set_aside: Path) -> None:
        self.raise_alert(
            _DAMAGED,
            "warning",
            f"the database of alerts was damaged; it is set aside as {set_aside}",
            "look after the disk; of what was waiting to be sent, only what stands is sent",
        )

    async def _in_thread(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *arguments)

    async def close(self) -> None:
        """Write what is left, if the disk takes it, and close."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._flush_soon()
        while self._flush is not None:
            await self._flush
        if self._retry is not None:
            self._retry.cancel()
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)
