"""The files that a feed recorded of one symbol: which there are, and what is in them, damage included."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from levibot.bus.codec import Decoder
from levibot.errors import MarketDataError
from levibot.market.blocks import END, HEADER, MESSAGES, OPENING, Block, BlockReader, Damage, first_block
from levibot.market.tape import FORMAT, NAME, FileHeader, State
from levibot.symbols import on_disk


class Begun(NamedTuple):
    """A file begins with this state."""

    event_ms: int
    state: State
    whole: bool  # nothing is missing between what came before and this


class Lost(NamedTuple):
    """Something is missing here."""

    reason: str


Entry = Begun | Lost | tuple[int, bytes]  # the last: event time, and a frame as it was published


class RecordedFile:
    """One file of a recording.

    Parameters
    ----------
    path
        Its name tells its place among the others.

    Raises
    ------
    MarketDataError
        If it is no recording, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        match = NAME.fullmatch(path.name)
        assert match is not None  # only such names are looked at
        self.path = path
        self.started, self.part = match["started"], int(match["part"])
        self.header: FileHeader | None = None  # None: damaged
        self.event_ms: int | None = None  # of the state that it begins with; None: that is damaged
        if (first := first_block(path)) is not None and first.kind == HEADER:
            self._look(first.number)

    @property
    def order(self) -> tuple[str, int]:
        """What files are sorted by."""
        return self.started, self.part

    def follows(self, other: RecordedFile) -> bool:
        """Whether it was begun where `other` was ended."""
        return self.started == other.started and self.part == other.part + 1

    def _look(self, first: int) -> None:
        reader = BlockReader(self.path)
        try:
            for block in reader.blocks():
                payload = reader.payload(block) if isinstance(block, Block) else block
                if isinstance(block, Damage) or isinstance(payload, Damage) or block.number > first + 1:
                    return
                if block.kind == HEADER:
                    self.header = _header(self.path, payload)
                else:
                    self.event_ms = block.first_ms
                    return
        finally:
            reader.close()


def _header(path: Path, payload: bytes) -> FileHeader:
    try:
        found = msgspec.msgpack.decode(payload)
        if found[0] == FORMAT:
            return msgspec.convert(found, FileHeader)
    except (msgspec.MsgspecError, LookupError, TypeError):
        found = None
    raise MarketDataError(f"{path}: is no recording of format {FORMAT}; another version of LeviBot wrote it")


def is_recorded(folder: Path, symbol: str) -> bool:
    """Whether `folder` has a recording of `symbol`; OSError if it cannot be read."""
    return next(_paths(folder, symbol), None) is not None


def find_recordings(folder: Path, symbol: str) -> list[RecordedFile]:
    """Files of `symbol` in the order in which they were written.

    Raises
    ------
    MarketDataError
        If one of them is no recording, or they are of two markets.
    OSError
        If one cannot be read.
    """
    begun = (path for path in _paths(folder, symbol) if path.stat().st_size)
    files = sorted(map(RecordedFile, begun), key=lambda file: file.order)
    origins: dict[tuple[str, str], Path] = {}
    for file in files:
        if file.header is not None:
            origins.setdefault((file.header.exchange, file.header.origin), file.path)
    if len(origins) > 1:
        shown = " and ".join(f"{path.name} ({': '.join(key)})" for key, path in origins.items())
        raise MarketDataError(f"{folder}: {shown} are of different markets; keep each in a folder of its own")
    return files


def _paths(folder: Path, symbol: str) -> Iterator[Path]:
    names = (NAME.fullmatch(path.name) for path in folder.iterdir())
    return (folder / name.string for name in names if name is not None and name["symbol"] == on_disk(symbol))


class RecordedEntries:
    """What is in some files, in order.

    Parameters
    ----------
    files
        Of one symbol.
    passes_over
        Tells of a block with messages whether none of them is wanted.
    warnings
        Gets a text about each damage.
    """

    def __init__(
        self, files: Sequence[RecordedFile], passes_over: Callable[[Block], bool], warnings: list[str]
    ) -> None:
        self._files = files
        self._passes_over = passes_over
        self._warnings = warnings

    def __iter__(self) -> Iterator[Entry]:
        before: RecordedFile | None = None  # set only if it was ended
        for file in self._files:
            whole, before = before is not None and file.follows(before), None
            try:
                ended = yield from self._found_in(file, whole)
            except OSError as error:  # it was swept away meanwhile, or its disk fails: the others go on
                yield self._lost(file, Damage(0, f"cannot be read ({error.strerror})"))
            else:
                before = file if ended else None

    def _found_in(self, file: RecordedFile, whole: bool) -> Generator[Entry, None, bool]:
        """What one file has; returns whether it was ended."""
        reader = BlockReader(file.path)
        number, ended = -1, False
        try:
            for block in reader.blocks():
                if isinstance(block, Damage):
                    yield self._lost(file, block)
                    continue
                if block.number != number + 1 and number >= 0:
                    yield Lost(f"{file.path.name}: blocks before byte {block.offset} are missing")
                number, ended = block.number, block.kind == END
                if block.kind == OPENING or (block.kind == MESSAGES and not self._passes_over(block)):
                    yield from self._inflated(file, reader, block, whole)
        finally:
            reader.close()
        return ended

    def _inflated(self, file: RecordedFile, reader: BlockReader, block: Block, whole: bool) -> Iterator[Entry]:
        payload = reader.payload(block)
        if isinstance(payload, Damage):
            yield self._lost(file, payload)
        elif block.kind == OPENING:
            state = _decode_state(payload)
            yield Begun(block.first_ms, state, whole and state.why == "day")
        else:
            yield from _decode_entries(payload)

    def _lost(self, file: RecordedFile, damage: Damage) -> Lost:
        self._warnings.append(f"{file.path}: {damage.what}; skipped")
        return Lost(f"{file.path.name}: {damage.what}")


_decode_state: Decoder[State] = Decoder(State)
_decode_entries: Decoder[list[tuple[int, bytes]]] = Decoder(list[tuple[int, bytes]])
