"""The recording of one symbol as the feed sees it: what waits for the disk, and what its files are called."""

from __future__ import annotations

import re
import threading
from collections import deque
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Literal

from levibot.bus.messages import Snapshot
from levibot.bus.messages.base import Message
from levibot.clock import boot_ns, wall_ms
from levibot.symbols import on_disk

FORMAT = 1
SUFFIX = ".levifeed"
NAME = re.compile(
    r"(?P<symbol>[A-Z0-9]+-[A-Z0-9]+(?:_[A-Z0-9]+)?)-(?P<day>\d{8})"
    rf"-(?P<started>\d{{8}}T\d{{6}}\.\d{{3}}Z)-(?P<part>\d{{4,}}){re.escape(SUFFIX)}"
)
OVERHEAD = 150  # bytes that a frame takes in memory beside its own

_DAY_MS = 86_400_000
_PROMPT = 4_000_000  # bytes that are written without waiting for the interval

Why = Literal["opened", "day", "resumed"]  # by the feed; at the turn of the day; after a loss


class FileHeader(Message, frozen=True):
    """What a file is: its first block."""

    format: int
    version: str  # of LeviBot
    exchange: str
    origin: str  # which market it is, in words; files of two markets are never joined
    symbol: str
    epoch: int  # of the feed
    started_ms: int  # wall clock at the feed's start
    part: int  # of this symbol since then, from 1


class State(Message, frozen=True):
    """State of a symbol before the first message of a file: its second block."""

    why: Why
    lost: int  # messages that came before this and are in no file
    wall_ms: int  # of the machine that recorded…
    boot_ns: int  # …at the same moment: what its `received_ns` count from
    snapshot: Snapshot


class Progress(Enum):
    """Whether the messages of a symbol are recorded now."""

    IDLE = "idle"  # the feed has not opened it
    RECORDING = "recording"
    LOSING = "losing"
    RESUMABLE = "resumable"  # as soon as there is a state to resume from


class Room:
    """How much waits to be written. `put` is the feed's, `taken` the thread's: so neither needs a lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.prompt = min(limit, _PROMPT)
        self.put = 0
        self.taken = 0
        self.wake = threading.Event()

    @property
    def waiting(self) -> int:
        """Bytes in memory."""
        return self.put - self.taken


class Tape:
    """The feed's end of the recording of one symbol. Nothing here blocks."""

    def __init__(self, room: Room) -> None:
        self.queue: deque[tuple[int, bytes | State | None]] = deque()  # event time; None: the end
        self.progress = Progress.IDLE
        self.refused = 0  # messages, in all
        self._refused_before = 0  # of those, known to the file
        self._next_day_ms = 0
        self._room = room

    def wants_state(self, event_ms: int) -> bool:
        """Whether `renew` is wanted before what happens at `event_ms`: a day, or a loss, is over."""
        if self.progress is Progress.RECORDING:
            return event_ms >= self._next_day_ms
        return self.progress is Progress.RESUMABLE

    def open(self, snapshot: Snapshot, event_ms: int) -> None:
        """The feed has opened the symbol."""
        self._begin("opened", snapshot, event_ms)

    def renew(self, snapshot: Snapshot, event_ms: int) -> None:
        """Go on from a state, in a new file."""
        if self.progress is Progress.RECORDING:
            self._begin("day", snapshot, event_ms - event_ms % _DAY_MS)
        else:
            self._begin("resumed", snapshot, event_ms)

    def add(self, event_ms: int, frame: bytes) -> None:
        """Record a frame that was published."""
        if self.progress is not Progress.RECORDING:
            self.refused += 1
            return
        room = self._room
        waiting = room.put - room.taken
        if waiting > room.prompt:
            if not room.wake.is_set():
                room.wake.set()
            if waiting > room.limit:
                self.progress = Progress.LOSING
                self.refused += 1
                return
        self.queue.append((event_ms, frame))
        room.put += len(frame) + OVERHEAD

    def end(self) -> None:
        """The feed has closed the symbol."""
        self.progress = Progress.IDLE
        self.queue.append((0, None))

    def _begin(self, why: Why, snapshot: Snapshot, event_ms: int) -> None:
        lost, self._refused_before = self.refused - self._refused_before, self.refused
        self._next_day_ms = event_ms - event_ms % _DAY_MS + _DAY_MS
        self.queue.append((event_ms, State(why, lost, wall_ms(), boot_ns(), snapshot)))
        self.progress = Progress.RECORDING


def recordings_folder(state_dir: Path) -> Path:
    """Where the feed of a state directory records to."""
    return state_dir / "recordings" / "feed"


def file_name(header: FileHeader, event_ms: int) -> str:
    """Name of a file: symbol, day, start of the feed, part."""
    day = datetime.fromtimestamp(event_ms / 1000, UTC).strftime("%Y%m%d")
    started = datetime.fromtimestamp(header.started_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
    return f"{on_disk(header.symbol)}-{day}-{started}.{header.started_ms % 1000:03}Z-{header.part:04}{SUFFIX}"
