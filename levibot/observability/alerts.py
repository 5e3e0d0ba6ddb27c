"""Alerts: raised in one place, each under a key, so that one cause is one alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from levibot.clock import wall_ms
from levibot.observability.logging import Logger

Severity = Literal["warning", "critical"]


@dataclass(frozen=True)
class Alert:
    """Something that an operator should know, and what to do about it."""

    key: str
    severity: Severity
    message: str
    remedy: str
    raised_at_ms: int


class Alerts:
    """The alerts that stand.

    Parameters
    ----------
    log
        Where raising and clearing are written.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._standing: dict[str, Alert] = {}

    def raise_alert(self, key: str, severity: Severity, message: str, remedy: str) -> None:
        """Raise an alert; one that stands under the same key is kept and not repeated."""
        if key in self._standing:
            return
        self._standing[key] = Alert(key, severity, message, remedy, wall_ms())
        self._log.error("alert_raised", key=key, severity=severity, message=message, remedy=remedy)

    def clear(self, key: str) -> None:
        """Clear the alert under `key`, if one stands."""
        if self._standing.pop(key, None) is not None:
            self._log.info("alert_cleared", key=key)

    def standing(self) -> list[Alert]:
        """All alerts that stand, oldest first."""
        return list(self._standing.values())
