"""Recordings for tests: made by the real publisher and recorder, of hand-made items of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec

from levibot.bus.codec import BOOK, TRADES, FlowDecoder, FrameDecoder
from levibot.bus.messages import Bar, Book, MarketEvent, MarketSpec, Tick, Trade, Trades
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole, synthetic_bar
from levibot.market.path import (
    BookLevels,
    Correction,
    NewSpec,
    Quote,
    Recovered,
    Stale,
    TimedItem,
    TradeBatch,
)
from levibot.market.publisher import Publisher
from levibot.market.recorder import FeedRecorder
from levibot.market.recording import Market
from levibot.market.specs import market_spec

BTC, ETH = "BTC/USDT", "ETH/USDT"
DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS + 36_000_000  # ten in the morning

Published = Tick | Bar | MarketEvent | Trades | Book


def minute(index: int) -> int:
    """Opening time of a bar, counted from the start."""
    return START_MS + index * MINUTE_MS


def bar(index: int, close: float = 100.1) -> Candle:
    """A bar with prices that no decimal number of few digits is."""
    flow = 1 / 7, 3.0, 1e-4 / 3, -1 / 3
    return Candle(minute(index), 0.1 + 0.2, 1e9 / 7, 5e-324, close, 1 / 3, False, *flow)


def empty_bar(index: int) -> Candle:
    """A synthetic bar, of which no flow is known."""
    return synthetic_bar(minute(index), 100.1)


def spec(symbol: str = BTC, fee: str = "0.001") -> MarketSpec:
    """Rules of a market."""
    return msgspec.structs.replace(market_spec(symbol, 100.0), taker_fee=Decimal(fee))


def history(until: int = 0, count: int = 20) -> list[Candle]:
    """The bars before minute `until`."""
    return [bar(index) for index in range(until - count, until)]


def quote(event_ms: int, last: float = 100.1) -> TimedItem:
    """A tick."""
    return event_ms, Quote(event_ms, last - 0.1, last + 1e-13, last, -0.0)


def every_kind(first: int = 0, symbol: str = BTC) -> list[TimedItem]:
    """Ten minutes with an item of every kind, some late, some at one time."""
    at = minute(first)
    trades = [Trade("7", at + 98, "buy", 1 / 7, 2e-9), Trade("", at + 99, None, 3.0, 4.0)]
    late = [Trade("8", minute(first + 3), "sell", 3.5, 1.5)]
    return [
        quote(at + 100),
        (at + 100, TradeBatch(at + 99, trades)),
        (at + 150, BookLevels(at + 140, [(99.9, 1 / 3), (99.8, 2.0)], [(100.2, 7e-8)])),
        quote(at + 120),  # late
        (minute(first + 1), bar(first)),
        quote(minute(first + 1) + 5, 101.7),
        (minute(first + 2), bar(first + 1)),
        (minute(first + 2) + 2000, Correction(minute(first + 2) + 1900, bar(first + 1, 99.0))),
        (minute(first + 2) + 3000, NewSpec(minute(first + 2) + 3000, spec(symbol, "0.002"))),
        (minute(first + 2) + 9000, Stale(minute(first + 2) + 8000, "nothing came for 4 s")),
        (minute(first + 5), Hole(minute(first + 2), 3, True)),
        *((minute(first + 5), empty_bar(first + 2 + n)) for n in range(3)),
        (minute(first + 5), Recovered(minute(first + 5))),
        (minute(first + 5) + 10, TradeBatch(minute(first + 3), late, 0, True)),
        *(quote(minute(first + 5) + 100 + n, 100 + n / 7) for n in range(50)),
        *((minute(first + n + 1), bar(first + n)) for n in range(5, 10)),
    ]


class Studio:
    """A publisher, its recorder, and what was published."""

    def __init__(self, folder: Path, recorder: FeedRecorder, epoch: int) -> None:
        self.folder = folder
        self.recorder = recorder
        self.frames: list[bytes] = []
        self.publisher = Publisher(epoch, self.frames.append, lambda: epoch + 5, 20, False, recorder)

    def open(self, symbol: str = BTC, bars: Sequence[Candle] = (), event_ms: int = START_MS) -> None:
        """Open a symbol."""
        holes: list[Hole] = []
        self.publisher.open(symbol, Market(spec(symbol), list(bars or history()), holes, iter(())), event_ms)

    def play(self, items: Sequence[TimedItem], symbol: str = BTC) -> None:
        """Publish."""
        for event_ms, item in items:
            self.publisher.publish(symbol, event_ms, item)

    @property
    def published(self) -> list[Published]:
        """All that was published."""
        return [decode(frame) for frame in self.frames]


@contextmanager
def studio(folder: Path, *, epoch: int = 1, origin: str = "test", limit: int = 64_000_000) -> Iterator[Studio]:
    """A studio whose recorder is closed at the end."""
    recorder = FeedRecorder(folder, "mexc", origin, epoch, limit=limit, interval=0.01)
    recorder.start()
    try:
        yield Studio(folder, recorder, epoch)
    finally:
        recorder.close()


_market, _flow = FrameDecoder(), FlowDecoder()


def decode(frame: bytes) -> Published:
    """Any message of the bus."""
    return _flow(frame) if frame.startswith((TRADES, BOOK)) else _market(frame)


def content(message: Published) -> tuple[object, ...]:
    """A message without what belongs to the feed that sends it; floats by their bits."""
    fields = [
        msgspec.msgpack.encode(getattr(message, name))
        for name in message.__struct_fields__
        if name not in ("epoch", "received_ns", "lockstep")
    ]
    return type(message).__name__, *fields
