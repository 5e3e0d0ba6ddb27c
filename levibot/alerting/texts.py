"""Notices in words, for people who read them on a telephone at night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LISTED = 20
_MARKS = {"warning": "⚠", "critical": "🔴"}
_SUBJECT_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Text:
    """A message for people."""

    title: str
    body: str
    severity: str
    over: bool  # the news is good


def single(notice: Mapping[str, Any]) -> Text:
    """One notice."""
    change = notice["change"]
    stamp = notice["cleared_at"] if change == "cleared" else notice["last_at"]
    lines = [notice["message"]]
    if change == "cleared":
        lines = [f"It is over ({notice['cleared_by']}): {notice['message']}"]
    elif notice["remedy"]:
        lines.append(f"What to do: {notice['remedy']}")
    lines += ["", f"{notice['source']} · {_utc(stamp)} · id {notice['notice']}"]
    return Text(_title(notice), "\n".join(lines), notice["severity"], change == "cleared")


def summary(notices: Sequence[Mapping[str, Any]]) -> Text:
    """Many notices at once, because one by one they would be a flood."""
    critical = any(notice["severity"] == "critical" and notice["change"] != "cleared" for notice in notices)
    lines = [f"{_utc(notice['last_at'])} {_title(notice)}" for notice in notices[:_LISTED]]
    if len(notices) > _LISTED:
        lines.append(f"and {len(notices) - _LISTED} more; see `levibotctl alerts`")
    first, last = notices[0], notices[-1]
    lines += ["", f"{last['source']} · ids {first['notice']} to {last['notice']}"]
    title = f"{_MARKS['critical' if critical else 'warning']} LeviBot: {len(notices)} alerts"
    over = all(notice["change"] == "cleared" for notice in notices)
    return Text(title, "\n".join(lines), "critical" if critical else "warning", over)


def _title(notice: Mapping[str, Any]) -> str:
    key, change = notice["key"], notice["change"]
    if change == "cleared":
        return f"✓ LeviBot: {key} is over"
    if change == "test":
        return "LeviBot: test"
    mark = _MARKS.get(notice["severity"], "")
    return f"{mark} LeviBot {notice['severity']}: {key}"[:_SUBJECT_LENGTH]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
