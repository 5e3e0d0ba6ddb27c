"""msgpack on the wire: typed structs one by one, and plain records for recordings and taps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Generic, TypeVar

import msgpack
import msgspec

from levibot.bus.messages import Bar, Book, MarketEvent, Message, Tick, Trades
from levibot.errors import MalformedMessageError

T = TypeVar("T")

SEPARATOR = b"\0"
TICK, BAR, MARKET, TRADES, BOOK = b"tick.", b"bar.", b"market.", b"trades.", b"book."
ALTDATA = b"alt."  # by base asset, not by symbol

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Body of one message."""
    return _encoder.encode(message)


class Decoder(Generic[T]):
    """Decodes one type (or union) of message.

    Parameters
    ----------
    kind
        The type, or union of tagged types, that the socket carries.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)

    def __call__(self, body: bytes | memoryview) -> T:
        """Decode `body`; MalformedMessageError says what was wrong with it."""
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedMessageError(f"{len(body)} bytes are no {self._kind}: {error}") from error


def topic(prefix: bytes, symbol: str) -> bytes:
    """What to subscribe to: the separator is part of it, or ``BTC/USDT`` also gets ``BTC/USDT:USDT``."""
    return prefix + symbol.encode() + SEPARATOR


def frame(prefix: bytes, symbol: str, message: Message) -> bytes:
    """One frame: topic, separator, body. Three times the throughput of multipart."""
    return topic(prefix, symbol) + _encoder.encode(message)


class FrameDecoder:
    """Decodes frames of the three topics that every engine subscribes to."""

    def __init__(self) -> None:
        self._tick: Decoder[Tick] = Decoder(Tick)
        self._bar: Decoder[Bar] = Decoder(Bar)
        self._market: Decoder[MarketEvent] = Decoder(MarketEvent)

    def __call__(self, data: bytes) -> Tick | Bar | MarketEvent:
        """Decode one frame; MalformedMessageError if it is none of the three."""
        head, separator, body = data.partition(SEPARATOR)
        if separator:
            if head.startswith(TICK):
                return self._tick(body)
            if head.startswith(BAR):
                return self._bar(body)
            if head.startswith(MARKET):
                return self._market(body)
        raise MalformedMessageError(f"unknown topic {head[:40]!r}")


class FlowDecoder:
    """Decodes frames of the topics that few subscribe to: public trades and order books."""

    def __init__(self) -> None:
        self._trades: Decoder[Trades] = Decoder(Trades)
        self._book: Decoder[Book] = Decoder(Book)

    def __call__(self, data: bytes) -> Trades | Book:
        """Decode one frame; MalformedMessageError if it is none of the two."""
        head, separator, body = data.partition(SEPARATOR)
        if separator and head.startswith(TRADES):
            return self._trades(body)
        if separator and head.startswith(BOOK):
            return self._book(body)
        raise MalformedMessageError(f"unknown topic {head[:40]!r}")


def write_record(stream: BinaryIO, record: Any) -> None:
    """Append one plain record (dict, list, text, number) to a stream of msgpack records."""
    stream.write(msgpack.packb(record, use_bin_type=True))


def read_records(stream: BinaryIO) -> Iterator[Any]:
    """Plain records of a stream; a truncated last one is left out.

    Raises
    ------
    MalformedMessageError
        If the stream holds something that is not msgpack.
    """
    unpacker = msgpack.Unpacker(stream, raw=False, strict_map_key=False)
    try:
        yield from unpacker
    except (msgpack.exceptions.UnpackException, ValueError) as error:
        raise MalformedMessageError(f"not a stream of records: {error}") from error
