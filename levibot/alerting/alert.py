"""What is told: an alert, and each change of it that people get to know."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Severity = Literal["warning", "critical"]
Change = Literal["raised", "escalated", "cleared", "test"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
TARGETS, HOOK = "targets", "hook"  # the channels that a change is told through


def new_id() -> str:
    """Identity of an alert from raising to clearing; the same key raised again is another alert."""
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that an operator should know, and what to do about it. Times are Unix ms."""

    key: str  # one cause is one alert
    severity: Severity
    message: str
    remedy: str
    raised_ms: int
    last_ms: int  # raised again
    raises: int = 1
    cleared_ms: int | None = None
    cleared_by: str = ""
    id: str = field(default_factory=new_id)

    @property
    def standing(self) -> bool:
        """Whether it is not cleared."""
        return self.cleared_ms is None

    def document(self) -> dict[str, Any]:
        """It in the form of the HTTP contract; times are Unix seconds."""
        return {
            "id": self.id,
            "key": self.key,
            "state": "standing" if self.standing else "cleared",
            "severity": self.severity,
            "message": self.message,
            "remedy": self.remedy,
            "raised_at": self.raised_ms / 1000,
            "last_at": self.last_ms / 1000,
            "raises": self.raises,
            "cleared_at": None if self.cleared_ms is None else self.cleared_ms / 1000,
            "cleared_by": self.cleared_by,
        }


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of an alert, to be told through every channel, each at least once.

    Attributes
    ----------
    id
        The same in each attempt, so that a receiver can drop what it has had already.
    """

    change: Change
    alert: Alert
    source: str  # which daemon: mode, exchange and account, host, data directory

    @property
    def id(self) -> str:
        """Identity of this change."""
        return f"{self.alert.id}-{self.change}"

    def document(self) -> dict[str, Any]:
        """What a hook gets, and what the outbox keeps."""
        return {"notice": self.id, "change": self.change, "source": self.source, **self.alert.document()}
