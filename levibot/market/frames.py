"""Recorded exchange frames: lines of ``<receive time, ns> <frame as Binance sent it>``, plain or gzipped.

`bookTicker` frames give bid and ask, `trade` frames last price and volume; bars are built from the trades.
Depth frames only tell the time, so bars have a spread and no imbalance. A recording may end in the middle of a
line, because its writer was killed: malformed lines are skipped and counted, the rest is played.
"""

from __future__ import annotations

import gzip
import heapq
import math
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import msgspec

from levibot.errors import MarketDataError
from levibot.market.bars import BarBuilder, Candle
from levibot.market.gaps import Hole, fill_gaps
from levibot.market.liquidity import Liquidity
from levibot.market.path import Ended, Quote, TimedItem
from levibot.market.recording import Market, Opening, split
from levibot.market.specs import decimals_of, market_spec

FRAME_SUFFIXES = (".jsonl.gz", ".jsonl")
_SAMPLE = 1000  # quotes looked at for the decimals of prices


class _Frame(msgspec.Struct, gc=False):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    lastUpdateId: int | None = None  # of a REST depth snapshot, which has no stream


class _Trade(msgspec.Struct, gc=False):
    sent_ms: int = msgspec.field(name="E")
    trade_ms: int = msgspec.field(name="T")
    price: str = msgspec.field(name="p")
    amount: str = msgspec.field(name="q")
    buyer_is_maker: bool | None = msgspec.field(name="m", default=None)


class _BookTicker(msgspec.Struct, gc=False):
    bid: str = msgspec.field(name="b")
    ask: str = msgspec.field(name="a")


class _Depth(msgspec.Struct, gc=False):
    sent_ms: int = msgspec.field(name="E")


_Event = _Trade | _BookTicker | _Depth
_KINDS: dict[str, msgspec.json.Decoder[_Trade] | msgspec.json.Decoder[_BookTicker] | msgspec.json.Decoder[_Depth]]
_KINDS = {
    "trade": msgspec.json.Decoder(_Trade),
    "bookTicker": msgspec.json.Decoder(_BookTicker),
    "depth": msgspec.json.Decoder(_Depth),
}


class FrameReader:
    """Reads the lines of a recording; counts those that it cannot use.

    Parameters
    ----------
    path
        The file of one symbol.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decode = msgspec.json.Decoder(_Frame).decode
        self._skipped: dict[str, tuple[int, int]] = {}  # kind → first line, count

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was skipped: one text for each kind of trouble."""
        return tuple(
            f"{self._path}:{line}: {kind}; {count} frames skipped" for kind, (line, count) in self._skipped.items()
        )

    def events(self) -> Iterator[tuple[float, _Event]]:
        """Receipt time in ms, and the frame."""
        number = 0
        try:
            with gzip.open(self._path) if self._path.name.endswith(".gz") else self._path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    stamp, _, body = line.partition(b" ")
                    try:
                        event = self._event(body)
                        received_ms = int(stamp) / 1e6
                    except (msgspec.DecodeError, ValueError):
                        self._skip("no '<receive time, ns> <JSON frame>' of a known stream", number)
                        continue
                    if event is not None:
                        yield received_ms, event
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._skip("the gzip stream is damaged or cut off", number + 1)

    def skip(self, kind: str) -> None:
        """Count a frame that was readable but made no sense."""
        self._skip(kind, 0)

    def _event(self, body: bytes) -> _Event | None:
        frame = self._decode(body)
        if frame.lastUpdateId is not None:
            return None
        kind = frame.stream.partition("@")[2].partition("@")[0]
        if kind not in _KINDS:
            raise ValueError(kind)
        return _KINDS[kind].decode(frame.data)

    def _skip(self, kind: str, line: int) -> None:
        first, count = self._skipped.get(kind, (line, 0))
        self._skipped[kind] = first, count + 1


class FrameMarket:
    """The market that a recording shows, read whole.

    Book tickers carry no exchange time. The recorder's clock may be seconds off, so its distance to the
    exchange's clock is followed from the frames that carry both times.

    Parameters
    ----------
    path
        The file of one symbol.

    Raises
    ------
    MarketDataError
        If it shows no price.
    """

    def __init__(self, path: Path) -> None:
        reader = FrameReader(path)
        self.quotes: list[Quote] = []
        self.candles: list[Candle] = []
        self._builder = BarBuilder()
        self._liquidity = Liquidity()
        self._bid = self._ask = self._last = math.nan
        self._event_ms = 0
        events = list(reader.events())
        sent = (event.sent_ms - at for at, event in events if not isinstance(event, _BookTicker))
        self._offset_ms = next(sent, 0.0)
        for received_ms, event in events:
            self._take(received_ms, event, reader)
        if not self.quotes:
            raise MarketDataError(f"{path}: no price; expected both bookTicker and trade frames")
        del self.candles[:1]  # its minute had begun before the recording did
        self.warnings = reader.warnings

    @property
    def begin_ms(self) -> int:
        """Event time just before the first quote."""
        return self.quotes[0].event_ms - 1

    def open(self, symbol: str, opening: Opening) -> Market:
        """Open as `symbol`. The ticks are the recorded ones, whatever `opening.step_ms` says."""
        history, holes, rest = split(fill_gaps(self.candles, opening.max_gap_minutes), opening)
        prices = (price for quote in self.quotes[:_SAMPLE] for price in (quote.bid, quote.last))
        spec = market_spec(symbol, self.quotes[0].last, decimals_of(prices))
        return Market(spec, history, holes, self._stream(rest, opening.from_ms), list(self.warnings))

    def _stream(self, rest: Iterator[Candle | Hole], from_ms: int) -> Iterator[TimedItem]:
        ticks = ((quote.event_ms, quote) for quote in self.quotes if quote.event_ms > from_ms)
        yield from heapq.merge(_timed(rest), ticks, key=itemgetter(0))
        end_ms = self.quotes[-1].event_ms
        yield end_ms, Ended(end_ms)

    def _take(self, received_ms: float, event: _Event, reader: FrameReader) -> None:
        if not isinstance(event, _BookTicker):
            self._offset_ms = event.sent_ms - received_ms
        if isinstance(event, _Depth):
            return
        try:
            numbers = (
                (float(event.bid), float(event.ask), 0.0)
                if isinstance(event, _BookTicker)
                else (float(event.price), float(event.price), float(event.amount))
            )
        except ValueError:
            numbers = (math.nan, math.nan, math.nan)
        low, high, volume = numbers
        if not (0 < low <= high < math.inf and 0 <= volume < math.inf):
            reader.skip("a price or amount that is no number above 0, or a bid above its ask")
            return
        if isinstance(event, _BookTicker):
            self._bid, self._ask = low, high
        else:
            self._last = low
            closed = self._builder.add(event.trade_ms, low, volume, _bought(event, volume))
            if closed is not None:
                self.candles.append(closed._replace(spread=self._liquidity.of(closed.open_ms)[0]))
        self._event_ms = max(self._event_ms, round(received_ms + self._offset_ms))
        if not math.isnan(self._bid + self._last):
            self._liquidity.quote(self._event_ms, self._bid, self._ask)
            self.quotes.append(Quote(self._event_ms, self._bid, self._ask, self._last, volume))


def _bought(trade: _Trade, volume: float) -> float:
    if trade.buyer_is_maker is None:
        return math.nan
    return 0.0 if trade.buyer_is_maker else volume


def _timed(items: Iterator[Candle | Hole]) -> Iterator[TimedItem]:
    end_ms = 0
    for item in items:
        # a bar that fills a hole is over with it
        end_ms = max(end_ms, item.until_ms if isinstance(item, Hole) else item.close_ms)
        yield end_ms, item
