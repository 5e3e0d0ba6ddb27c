"""Log files: one writer each, one JSON object a line, one file per UTC day of the records."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Logger = structlog.typing.FilteringBoundLogger


class DailyFile:
    """Appends lines to ``NAME-YYYYMMDD.jsonl``; never raises: a refused line is counted.

    Parameters
    ----------
    directory
        Created, and created again if someone removes it.
    name
        Name of the worker that writes.
    retention_days
        Older files of the same name are deleted when a new day begins.
    """

    def __init__(self, directory: Path, name: str, retention_days: int) -> None:
        self.refused = 0
        self._directory = directory
        self._name = name
        self._retention_days = retention_days
        self._day = ""
        self._fd = -1

    def write(self, day: str, line: bytes) -> None:
        """Append one line to the file of `day` (``YYYYMMDD``)."""
        with contextlib.suppress(OSError):
            self._open(day)
            written = os.write(self._fd, line + b"\n")
            if written == len(line) + 1:
                return
            # A full disk took half a line: take it back. There is no other writer.
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        self.refused += 1

    debug = info = warning = error = critical = msg = write

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, day: str) -> None:
        if self._fd >= 0 and (day != self._day or os.fstat(self._fd).st_nlink == 0):
            self.close()
        if self._fd < 0:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._directory / f"{self._name}-{day}.jsonl"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._day = day
            self._expire(day)

    def _expire(self, day: str) -> None:
        today = date(int(day[:4]), int(day[4:6]), int(day[6:]))  # strptime would load 0.3 MB into each worker
        oldest = today - timedelta(days=self._retention_days)
        own = re.compile(re.escape(self._name) + r"-(\d{8})\.jsonl")
        for path in self._directory.iterdir():
            match = own.fullmatch(path.name)
            if match and match[1] < oldest.strftime("%Y%m%d"):
                path.unlink(missing_ok=True)


def open_log(
    directory: Path, name: str, *, level: str, retention_days: int, symbol: str | None = None
) -> tuple[Logger, DailyFile]:
    """Logger of one process, and the file behind it.

    Parameters
    ----------
    directory, name, retention_days
        As of `DailyFile`.
    level
        Least level that is written: debug, info, warning or error.
    symbol
        Bound to every record.
    """
    sink = DailyFile(directory, name, retention_days)
    logger: Logger = structlog.wrap_logger(
        sink,
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return (logger.bind(symbol=symbol) if symbol else logger), sink


def _render(
    _logger: Any, level: str, fields: MutableMapping[str, Any]
) -> tuple[tuple[str, bytes], Mapping[str, Any]]:
    now = datetime.now(UTC)
    record = {
        "ts": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": level,
        "symbol": fields.pop("symbol", None),
        "event": fields.pop("event", ""),
        **fields,
    }
    return (now.strftime("%Y%m%d"), _to_json(record)), {}


def _to_json(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:  # a lone surrogate, an integer over 64 bits…: written as Python shows it
        return orjson.dumps(
            {_readable(key): None if value is None else _readable(value) for key, value in record.items()}
        )


def _readable(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()
