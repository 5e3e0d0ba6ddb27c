"""Numbers and times as providers write them, checked."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from levibot.errors import AltDataError


def checked_number(source: str, what: str, written: Any, least: float | None = None) -> float:
    """A finite number, which may be written as text.

    Parameters
    ----------
    source, what
        For the error.
    written
        As it came.
    least
        What it cannot be below; None: any.

    Raises
    ------
    AltDataError
        If it is something else.
    """
    try:
        value = math.nan if isinstance(written, bool) else float(written)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise AltDataError(f"{source}: {what} is {str(written)[:40]!r}, which is no number")
    if least is not None and value < least:
        raise AltDataError(f"{source}: {what} is {value:g}, which it cannot be")
    return value


def unix_ms(source: str, written: Any) -> int:
    """Unix ms of a time in ISO 8601, as UTC where it names no zone; AltDataError if it is something else."""
    if isinstance(written, str):
        try:
            time = datetime.fromisoformat(written)
            return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            pass
    raise AltDataError(f"{source}: {str(written)[:40]!r} is no time")
