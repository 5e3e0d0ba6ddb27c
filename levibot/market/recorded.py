"""Recordings of a feed, read back: of each symbol its files in order, as one stream of what happened.

What comes back is what was published, field by field; numbers too, where the replay begins with the recording.
Where something is missing, between two starts of the feed, after a loss or behind a damaged block, the market is
stale until it is whole again: its bars come from the next recorded state, or what is missing is a gap.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from levibot.bus.codec import BOOK, TRADES, FlowDecoder, FrameDecoder
from levibot.bus.messages import (
    Bar,
    BarCorrected,
    Book,
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketGap,
    MarketRecovered,
    MarketSpec,
    MarketStale,
    Snapshot,
    SpecChanged,
    Tick,
    Trades,
)
from levibot.errors import MalformedMessageError, MarketDataError
from levibot.market.bars import Candle, Ohlcv
from levibot.market.blocks import Block
from levibot.market.gaps import Hole, hole_between, synthetic_bars
from levibot.market.path import (
    BookLevels,
    Correction,
    Ended,
    Item,
    NewSpec,
    Quote,
    Recovered,
    Stale,
    TimedItem,
    TradeBatch,
)
from levibot.market.recorded_files import Begun, Lost, RecordedEntries, RecordedFile, find_recordings
from levibot.market.recorder import RELIABLE
from levibot.market.recording import Market, Opening
from levibot.market.tape import State

_NEVER_MS, _END_MS = -(2**62), 2**62


class RecordedMarket:
    """What was recorded of one symbol.

    Parameters
    ----------
    folder
        Where the files lie.
    symbol
        Canonical.

    Raises
    ------
    MarketDataError
        If there is no recording of it, or no good one.
    """

    def __init__(self, folder: Path, symbol: str) -> None:
        self._files = find_recordings(folder, symbol)
        begins = [file.event_ms for file in self._files if file.event_ms is not None]
        if not begins:
            raise MarketDataError(f"{folder}: no recording of {symbol} with a good beginning")
        self.begin_ms = begins[0] - 1  # event time just before anything was published

    def open(self, opening: Opening) -> Market:
        """Open the market. What is played is what was published, whatever `opening.step_ms` says."""
        walk = Walk(self._files[self._place(opening.from_ms) :], opening)
        items = walk.items()
        for event_ms, item in items:
            if event_ms > opening.from_ms:
                return walk.market(chain([(event_ms, item)], items))
        raise MarketDataError(
            f"{self._files[-1].path}: the recording ends at {walk.now_ms} ms, before the replay is there "
            f"({opening.from_ms} ms); set [feed] start earlier, or leave the symbol out"
        )

    def candles(self) -> list[Candle]:
        """All bars that were recorded, as the exchange corrected them; without those that were filled in.

        Raises
        ------
        MarketDataError
            If there is none.
        """
        walk = Walk(self._files[self._place(_NEVER_MS) :], Opening(_END_MS, sys.maxsize, 0, None))
        for _ in walk.items():
            pass
        bars = {bar.open_ms: bar for bar in walk.bars if not bar.synthetic}
        if not bars:
            raise MarketDataError(f"{self._files[0].path}: no bars; record for longer, or leave the symbol out")
        return [bars[open_ms] for open_ms in sorted(bars)]

    def _place(self, from_ms: int) -> int:
        """The last file whose state is from no later than `from_ms`; else the first that has one."""
        places = [(index, file.event_ms) for index, file in enumerate(self._files) if file.event_ms is not None]
        early = [index for index, event_ms in places if event_ms <= from_ms]
        return early[-1] if early else places[0][0]


class Walk:
    """Goes through files and follows the state of the market.

    Parameters
    ----------
    files
        In order; the first must have a good state.
    opening
        What happened until `from_ms` is only looked at as far as it makes the state.

    Attributes
    ----------
    now_ms
        Event time so far. It never goes back, though messages may come out of their order.
    bars, holes, spec, stale
        The state after all that was taken from `items`.
    warnings
        What was skipped, and why.
    """

    def __init__(self, files: Sequence[RecordedFile], opening: Opening) -> None:
        self.now_ms = _NEVER_MS
        self.bars: deque[Candle] = deque(maxlen=opening.bars)
        self.holes: deque[Hole] = deque(maxlen=opening.bars)
        self.spec: MarketSpec
        self.stale = ""
        self.warnings: list[str] = []
        self._files = files
        self._opening = opening
        self._begun_ms = _NEVER_MS  # event time of the first state
        self._broken = ""  # what is missing since the last bar…
        self._broken_ms = _NEVER_MS  # …and when that began
        self._truly_stale = False  # while something is missing: whether the recording says so too
        self._known_ms = _NEVER_MS  # opening time of the newest bar of a state: such bars need not come again
        self._replayed_ms = _NEVER_MS  # a feed that was started again may have repeated what was until then
        self._ended: Ended | None = None

    def items(self) -> Iterator[TimedItem]:
        """What happened after the first state; an item is part of the state when the next one is asked for."""
        for event_ms, item in self._items():
            yield event_ms, item
            self._apply(item)

    def market(self, rest: Iterator[TimedItem]) -> Market:
        """The market in its present state, and what happens next."""
        from_ms = self._opening.from_ms
        if self.stale:
            rest = chain([(from_ms, Stale(from_ms, self.stale))], rest)
        bars = list(self.bars)
        first_ms = bars[0].open_ms if bars else from_ms
        holes = [hole for hole in self.holes if hole.until_ms > first_ms]
        opened_ms = self._begun_ms if self._begun_ms > from_ms else None
        return Market(self.spec, bars, holes, rest, self.warnings, opened_ms)

    # ------------------------------------------------------------------ the state

    def _load(self, snapshot: Snapshot) -> None:
        self.spec = snapshot.spec
        self.stale = snapshot.stale
        self.bars.extend(map(_candle, snapshot.bars))
        self.holes.extend(map(_hole, snapshot.gaps))

    def _apply(self, item: Item) -> None:
        match item:
            case Candle():
                self.bars.append(item)
            case Hole():
                self.holes.append(item)
            case Correction(candle=candle):
                self._correct(candle)
            case NewSpec(spec=spec):
                self.spec = spec
            case Stale(reason=reason):
                self.stale = reason
            case Recovered():
                self.stale = ""

    def _correct(self, candle: Candle) -> None:
        for index in range(len(self.bars) - 1, -1, -1):
            if self.bars[index].open_ms == candle.open_ms:
                self.bars[index] = candle
                return

    # ------------------------------------------------------------------ what happened

    def _items(self) -> Iterator[TimedItem]:
        for found in RecordedEntries(self._files, self._passes_over, self.warnings):
            match found:
                case Lost(reason=reason):
                    self._break(reason)
                case Begun() if self._begun_ms == _NEVER_MS:
                    self._load(found.state.snapshot)
                    self._begun_ms = self.now_ms = found.event_ms
                case Begun():
                    if not found.whole or self._broken:
                        yield from self._rejoin(found)
                case event_ms, frame:
                    yield from self._published(event_ms, frame)
        yield self.now_ms, self._ended or Ended(self.now_ms)

    def _published(self, event_ms: int, frame: bytes) -> Iterator[TimedItem]:
        self.now_ms = now_ms = max(self.now_ms, event_ms)
        if now_ms <= self._opening.from_ms and not frame.startswith(RELIABLE):
            return
        try:
            item = _item(_decode(frame))
        except MalformedMessageError as error:  # whole, but of a kind that this version does not know
            self.warnings.append(f"{error}; skipped")
            self._break("a message of the recording is unknown")
            return
        if item is None:
            return
        if event_ms > self._replayed_ms:
            self._replayed_ms = _NEVER_MS
        elif not isinstance(item, Stale | Recovered | Correction | NewSpec):
            return
        self._ended = item if isinstance(item, Ended) else None
        if self._ended is not None or (isinstance(item, Candle) and item.open_ms <= self._known_ms):
            return
        if self._broken:
            yield from self._while_broken(item)
        else:
            yield now_ms, item

    def _break(self, reason: str) -> None:
        if not self._broken:
            self._broken, self._broken_ms = reason, self.now_ms
        self._truly_stale = False

    def _while_broken(self, item: Item) -> Iterator[TimedItem]:
        """Until the next bar shows which are missing, the market is stale."""
        now_ms = self.now_ms
        if not self.stale:
            yield self._broken_ms, Stale(self._broken_ms, self._broken)
        match item:
            case Recovered():
                self._truly_stale = False
            case Stale():
                self._truly_stale = True
                yield now_ms, item
            case Candle():
                if self.bars:
                    yield from self._bridge(self.bars[-1], item, {})
                yield now_ms, item
                self._broken = ""
                if not self._truly_stale:
                    yield now_ms, Recovered(now_ms)
            case _:
                yield now_ms, item

    def _rejoin(self, begun: Begun) -> Iterator[TimedItem]:
        """Go on from a state behind something that is missing."""
        self._break(_reason(begun.state))
        if not self.stale:
            yield self._broken_ms, Stale(self._broken_ms, self._broken)
        if begun.state.why == "opened":
            self._replayed_ms = self.now_ms
        self.now_ms = now_ms = max(self.now_ms, begun.event_ms)
        snapshot = begun.state.snapshot
        if snapshot.spec != self.spec:
            yield now_ms, NewSpec(now_ms, snapshot.spec)
        holes = {gap.from_ms: _hole(gap) for gap in snapshot.gaps}
        known = {bar.open_ms: bar for bar in self.bars}
        last = self.bars[-1] if self.bars else None
        for candle in map(_candle, snapshot.bars):
            if last is None or candle.open_ms > last.open_ms:
                if last is not None:
                    yield from self._bridge(last, candle, holes)
                yield now_ms, candle
                last = candle
            elif candle[:6] != (seen := known.get(candle.open_ms, candle))[:6]:
                yield now_ms, Correction(now_ms, candle.with_flow_of(seen))
        self._known_ms = last.open_ms if last is not None else _NEVER_MS
        self._broken = ""
        if snapshot.stale:
            yield now_ms, Stale(now_ms, snapshot.stale)
        else:
            yield now_ms, Recovered(now_ms)

    def _bridge(self, before: Candle, after: Candle, holes: Mapping[int, Hole]) -> Iterator[TimedItem]:
        """The hole between two bars, if there is one: as it is known, else with its synthetic bars."""
        if (hole := holes.get(before.close_ms)) is not None:
            yield self.now_ms, hole
        elif (hole := hole_between(before, after, self._opening.max_gap_minutes)) is not None:
            yield self.now_ms, hole
            for candle in synthetic_bars(before, hole):
                yield self.now_ms, candle

    def _passes_over(self, block: Block) -> bool:
        """Whether a block makes no difference to the state, and is over before anything is played."""
        if block.reliable or max(block.last_ms, self.now_ms) > self._opening.from_ms:
            return False
        self.now_ms = max(block.last_ms, self.now_ms)
        return True


_decode_market = FrameDecoder()
_decode_flow = FlowDecoder()


def _decode(frame: bytes) -> Tick | Bar | MarketEvent | Trades | Book:
    return _decode_flow(frame) if frame.startswith((TRADES, BOOK)) else _decode_market(frame)


def _reason(state: State) -> str:
    if state.lost:
        return f"{state.lost} messages were not recorded"
    return "the feed was started again" if state.why == "opened" else "part of the recording is missing"


def _candle(bar: Ohlcv) -> Candle:
    return Candle(
        bar.open_ms,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.synthetic,
        bar.buy_volume,
        bar.trades,
        bar.spread,
        bar.imbalance,
    )


def _hole(gap: MarketGap) -> Hole:
    return Hole(gap.from_ms, gap.missing, gap.filled)


def _item(message: Tick | Bar | MarketEvent | Trades | Book) -> Item | None:
    """What a message was made from; None for those that each feed makes by itself."""
    match message:
        case Tick():
            return Quote(message.event_ms, message.bid, message.ask, message.last, message.volume)
        case Bar():
            return _candle(message)
        case Trades():
            return TradeBatch(message.event_ms, message.trades, backfilled=message.backfilled)
        case Book():
            return BookLevels(message.event_ms, message.bids, message.asks)
        case MarketGap():
            return _hole(message)
        case MarketStale():
            return Stale(message.event_ms, message.reason)
        case MarketRecovered():
            return Recovered(message.event_ms)
        case BarCorrected():
            return Correction(message.event_ms, _candle(message))
        case SpecChanged():
            return NewSpec(message.event_ms, message.spec)
        case MarketEnded():
            return Ended(message.event_ms)
        case MarketConnected():
            return None
