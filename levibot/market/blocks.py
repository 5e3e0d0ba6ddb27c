"""Files of blocks, each compressed and checked on its own: one that is damaged costs nothing but itself.

A block is a head of 52 bytes and a payload, deflated by zlib. The head has a checksum of its own, so that a
reader may pass over a payload unread, and finds the next block behind a damaged one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from levibot.errors import MarketDataError

HEADER, OPENING, MESSAGES, END = range(4)  # kinds of blocks
LARGEST_PAYLOAD = 64_000_000  # bytes; a head that promises more is damaged

_MAGIC = b"\x93LBfeed\n"
_HEAD = struct.Struct("<8sBBxxIIIIqqII")  # … checksum of the payload, checksum of the head before it
_CHECKED = _HEAD.size - 4
_LEVEL = 4  # of zlib: above it a book shrinks by some percent more, and takes twice the time
_CHUNK = 1 << 20


class Block(NamedTuple):
    """What the head of a block says."""

    kind: int
    reliable: bool  # whether a bar or market event is among its messages
    number: int  # from 0, without a hole
    messages: int
    length: int  # of its payload, before it was deflated
    size: int  # of its payload in the file
    first_ms: int  # event times of its messages
    last_ms: int
    checksum: int
    offset: int  # where it begins in the file


class Damage(NamedTuple):
    """Part of a file that is no good block."""

    offset: int
    what: str


def make_block(
    kind: int, number: int, payload: bytes, span_ms: tuple[int, int], messages: int = 0, *, reliable: bool = False
) -> bytes:
    """A block as it is in a file.

    Parameters
    ----------
    kind, number, messages, reliable
        As of `Block`.
    payload
        Before it is deflated.
    span_ms
        Least and greatest event time.
    """
    deflated = zlib.compress(payload, _LEVEL)
    head = _HEAD.pack(
        _MAGIC, kind, reliable, number, messages, len(payload), len(deflated), *span_ms, zlib.crc32(deflated), 0
    )[:_CHECKED]
    return head + struct.pack("<I", zlib.crc32(head)) + deflated


class BlockReader:
    """Reads one file, block by block.

    Parameters
    ----------
    path
        The file; it may still be growing.
    """

    def __init__(self, path: Path) -> None:
        self._stream: BinaryIO = path.open("rb")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def blocks(self) -> Iterator[Block | Damage]:
        """Heads of all blocks, in order; payloads are not looked at."""
        offset = 0
        while True:
            head = self._read(offset, _HEAD.size)
            if not head:
                return
            block = _parse(head, offset)
            if block is None:
                begin, offset = offset, self._resume(offset + 1)
                yield Damage(begin, f"{offset - begin} bytes from byte {begin} on are damaged or cut off")
                continue
            offset += _HEAD.size + block.size
            yield block

    def payload(self, block: Block) -> bytes | Damage:
        """Payload of a block, inflated."""
        deflated = self._read(block.offset + _HEAD.size, block.size)
        if len(deflated) < block.size:
            return Damage(block.offset, f"the block at byte {block.offset} is cut off")
        if zlib.crc32(deflated) == block.checksum:
            payload = zlib.decompressobj().decompress(deflated, block.length)
            if len(payload) == block.length:
                return payload
        return Damage(block.offset, f"the block at byte {block.offset} is damaged")

    def _read(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(size)

    def _resume(self, offset: int) -> int:
        """Where the next good head begins, at `offset` or later; the end of the file if there is none."""
        while True:
            chunk = self._read(offset, _CHUNK)
            found = chunk.find(_MAGIC)
            if found >= 0:
                offset += found
                if _parse(self._read(offset, _HEAD.size), offset) is not None:
                    return offset
                offset += 1
            elif len(chunk) < _CHUNK:
                return offset + len(chunk)
            else:
                offset += len(chunk) - len(_MAGIC) + 1


def first_block(path: Path) -> Block | None:
    """Head of the first block of a file; None if it is damaged.

    Raises
    ------
    MarketDataError
        If the file does not begin as one of ours does.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD.size)
    if head[: len(_MAGIC)] != _MAGIC[: len(head)]:
        raise MarketDataError(f"{path}: is no recording of a feed; remove it, or restore it from a copy")
    return _parse(head, 0)


def _parse(head: bytes, offset: int) -> Block | None:
    if len(head) < _HEAD.size:
        return None
    magic, kind, reliable, *fields, checksum, head_checksum = _HEAD.unpack(head)
    if magic != _MAGIC or zlib.crc32(head[:_CHECKED]) != head_checksum:
        return None
    block = Block._make((kind, bool(reliable), *fields, checksum, offset))
    return block if block.length <= LARGEST_PAYLOAD else None
