"""Records what a feed publishes: frames wait in memory, a thread compresses and writes them.

One file for each symbol, day (UTC, of event time) and start of the feed; see `levibot.market.recorded` for the
way back. The feed never waits for the disk. What the disk is too slow or too full for is left out and counted,
up to the next whole state of the symbol, which begins a new file and says what is missing before it.
"""

from __future__ import annotations

import errno
import os
import threading
from io import FileIO
from pathlib import Path

import msgspec

import levibot
from levibot.bus.codec import BAR, MARKET
from levibot.bus.messages import RecorderReport
from levibot.clock import boot_ns, wall_ms
from levibot.config_market import FeedConfig
from levibot.errors import ConfigError
from levibot.market.blocks import END, HEADER, MESSAGES, OPENING, make_block
from levibot.market.source import settings_key
from levibot.market.tape import (
    FORMAT,
    OVERHEAD,
    FileHeader,
    Progress,
    Room,
    State,
    Tape,
    Why,
    file_name,
    recordings_folder,
)

RELIABLE = (BAR, MARKET)  # topics of what makes the state of a symbol

_INTERVAL = 0.75  # seconds between two writes
_LARGEST_BLOCK = 1 << 18  # bytes of frames
_LIMIT = 64_000_000  # bytes that may wait
_RETRY_NS = 5_000_000_000
_COMPLAIN_NS = 60_000_000_000
_CLOSE_SECONDS = 5.0


class FeedRecorder:
    """Writes the tapes of all symbols.

    Parameters
    ----------
    folder
        Where the files go; made when there is something to write.
    exchange, origin, epoch
        As of `FileHeader`.
    limit
        Bytes that may wait in memory.
    interval
        Seconds between two writes.
    """

    def __init__(
        self,
        folder: Path,
        exchange: str,
        origin: str,
        epoch: int,
        *,
        limit: int = _LIMIT,
        interval: float = _INTERVAL,
    ) -> None:
        self._folder = folder
        self._header = FileHeader(FORMAT, levibot.__version__, exchange, origin, "", epoch, wall_ms(), 0)
        self._room = Room(limit)
        self._interval = interval
        self._writers: dict[str, TapeWriter] = {}
        self._closing = False
        self._thread: threading.Thread | None = None
        self._complained = 0
        self._complain_ns = 0

    def start(self) -> None:
        """Begin to write, in a thread."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def tape(self, symbol: str) -> Tape:
        """The tape of a symbol, to be opened."""
        writer = self._writers.get(symbol)
        if writer is None:
            header = msgspec.structs.replace(self._header, symbol=symbol)
            writer = self._writers[symbol] = TapeWriter(self._folder, header, self._room)
        return writer.tape

    def report(self) -> RecorderReport:
        """What has been recorded so far."""
        writers = list(self._writers.values())
        return RecorderReport(
            sum(writer.written for writer in writers),
            sum(writer.bytes for writer in writers),
            sum(writer.dropped + writer.tape.refused for writer in writers),
            next((writer.trouble for writer in writers if writer.losing), ""),
        )

    def complaint(self) -> str:
        """What the operator should be told now of losses; empty if there are no new ones, or only just told."""
        report = self.report()
        if report.dropped == self._complained or boot_ns() < self._complain_ns:
            return ""
        lost, self._complained = report.dropped - self._complained, report.dropped
        self._complain_ns = boot_ns() + _COMPLAIN_NS
        return f"{lost} messages were not recorded: {report.trouble or 'they came faster than they were written'}"

    def close(self) -> None:
        """Write what waits, and end; a disk that hangs is not waited for. Blocks."""
        self._closing = True
        self._room.wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing:
            self._room.wake.wait(self._interval)
            self._room.wake.clear()
            for writer in list(self._writers.values()):
                writer.write()
        for writer in list(self._writers.values()):
            writer.write()
            writer.finish()


class TapeWriter:
    """The thread's end of the recording of one symbol.

    Attributes
    ----------
    written, bytes
        Messages and bytes on disk.
    dropped
        Messages that the disk refused.
    trouble
        Why messages are being lost; empty while none are.
    """

    def __init__(self, folder: Path, header: FileHeader, room: Room) -> None:
        self.tape = Tape(room)
        self.written = 0
        self.bytes = 0
        self.dropped = 0
        self.trouble = ""
        self._folder = folder
        self._header = header
        self._room = room
        self._stream: FileIO | None = None
        self._blocks = 0  # in this file
        self._lost = 0  # messages since the state that the newest file begins with
        self._retry_ns = 0
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def losing(self) -> bool:
        """Whether messages are being lost, for a known reason, and nothing has been written since."""
        return self.tape.progress is not Progress.IDLE and self.trouble != ""

    def write(self) -> None:
        """Write all that waits. Whatever goes wrong is kept in `trouble`."""
        try:
            self._write_queue()
        except Exception as error:  # noqa: BLE001  # the thread goes on with the other symbols; reported
            self._fail(f"{type(error).__name__}: {error}")
        self._look_up()

    def _write_queue(self) -> None:
        queue = self.tape.queue
        entries: list[tuple[int, bytes]] = []
        size = 0
        for _ in range(len(queue)):
            event_ms, what = queue.popleft()
            if isinstance(what, bytes):
                entries.append((event_ms, what))
                size += len(what)
                if size < _LARGEST_BLOCK:
                    continue
            self._write_messages(entries)
            entries, size = [], 0
            if isinstance(what, State):
                self._begin(event_ms, what)
            elif what is None:
                self.finish()
        self._write_messages(entries)

    def finish(self) -> None:
        """End the present file, and wait until it is on disk."""
        stream = self._stream
        if stream is None:
            return
        try:
            self._append(stream, END, b"", (0, 0))
            os.fsync(stream.fileno())
            stream.close()
        except OSError as error:
            self._fail(describe(error, Path(stream.name)))
        self._stream = None

    def _begin(self, event_ms: int, state: State) -> None:
        self.finish()
        header = self._header = msgspec.structs.replace(self._header, part=self._header.part + 1)
        self._lost += state.lost
        why: Why = "resumed" if self._lost and state.why == "day" else state.why
        state = msgspec.structs.replace(state, why=why, lost=self._lost)
        span_ms = event_ms, event_ms
        path = self._folder / file_name(header, event_ms)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = FileIO(path, "x", opener=_private)
        except OSError as error:
            self._fail(describe(error, path))
            return
        self._stream, self._blocks = stream, 0
        try:
            self._append(stream, HEADER, self._encode(header), span_ms)
            self._append(stream, OPENING, self._encode(state), span_ms, reliable=True)
        except OSError as error:
            self._fail(describe(error, path))
            path.unlink(missing_ok=True)
        else:
            self.trouble, self._lost = "", 0

    def _write_messages(self, entries: list[tuple[int, bytes]]) -> None:
        if not entries:
            return
        stream = self._stream
        if stream is None or not self._put(stream, entries):
            self.dropped += len(entries)
            self._lost += len(entries)
        else:
            self.written += len(entries)
        self._room.taken += sum(len(frame) + OVERHEAD for _, frame in entries)

    def _put(self, stream: FileIO, entries: list[tuple[int, bytes]]) -> bool:
        times = [event_ms for event_ms, _ in entries]
        reliable = any(frame.startswith(RELIABLE) for _, frame in entries)
        try:
            self._append(
                stream, MESSAGES, self._encode(entries), (min(times), max(times)), len(entries), reliable=reliable
            )
        except OSError as error:
            self._fail(describe(error, Path(stream.name)))
            return False
        return True

    def _append(
        self,
        stream: FileIO,
        kind: int,
        payload: bytes,
        span_ms: tuple[int, int],
        messages: int = 0,
        *,
        reliable: bool = False,
    ) -> None:
        """Append a block as a whole, or nothing."""
        status = os.fstat(stream.fileno())
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written", stream.name)
        rest = memoryview(make_block(kind, self._blocks, payload, span_ms, messages, reliable=reliable))
        length = len(rest)
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            os.ftruncate(stream.fileno(), status.st_size)
            raise
        self._blocks += 1
        self.bytes += length

    def _fail(self, trouble: str) -> None:
        """Lose what comes until the disk may have room again."""
        if self.tape.progress is not Progress.IDLE:
            self.tape.progress = Progress.LOSING
        self.trouble = trouble
        self._retry_ns = boot_ns() + _RETRY_NS
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _look_up(self) -> None:
        """After a loss: see whether it is worth going on."""
        if self.tape.progress is not Progress.LOSING:
            return
        if not self.trouble:
            self.trouble = f"{self._folder}: the disk takes less than is published"
        if boot_ns() >= self._retry_ns and self._room.waiting <= self._room.limit // 2:
            self.tape.progress = Progress.RESUMABLE


def recorder_of(feed: FeedConfig, exchange: str, state_dir: Path, epoch: int) -> FeedRecorder | None:
    """The recorder of a feed, started; None if nothing is to be recorded.

    Parameters
    ----------
    feed
        Section ``[feed]``.
    exchange
        Whose markets they are.
    state_dir
        Of this mode, exchange and account.
    epoch
        Of the feed.

    Raises
    ------
    ConfigError
        If it would play what it writes.
    """
    if not feed.record:
        return None
    folder = recordings_folder(state_dir)
    if feed.source == "replay" and feed.path is not None and feed.path.resolve() == folder.resolve():
        raise ConfigError(f"[feed] path = {str(folder)!r} is where record = true writes to; set record = false")
    origin = settings_key(feed) if feed.is_artificial else "live"
    recorder = FeedRecorder(folder, exchange, origin, epoch)
    recorder.start()
    return recorder


def describe(error: OSError, path: Path) -> str:
    """What went wrong with a file, in words."""
    return f"{path}: {error.strerror or error}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
