"""What was recorded comes back bit for bit; what is missing makes the market stale, never whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from levibot.bus.messages import MarketConnected, MarketStale, SnapshotRequest, Tick
from levibot.errors import MarketDataError
from levibot.market.bars import Candle
from levibot.market.blocks import MESSAGES, Block, BlockReader
from levibot.market.gaps import Hole
from levibot.market.path import Correction, Ended, Item, NewSpec, Quote, Recovered, Stale
from levibot.market.playback import Timeline
from levibot.market.publisher import Publisher
from levibot.market.recorded import RecordedMarket
from levibot.market.recording import Market, Opening
from levibot.market.replay import ReplayRecording
from tests.deadline import wait_for
from tests.market.recordings import (
    BTC,
    DAY_MS,
    ETH,
    START_MS,
    Published,
    Studio,
    bar,
    content,
    decode,
    every_kind,
    history,
    minute,
    quote,
    spec,
    studio,
)

OPENING = Opening(0, 20, 120, None)


def open_at(folder: Path, from_ms: int, symbol: str = BTC) -> Market:
    return RecordedMarket(folder, symbol).open(OPENING._replace(from_ms=from_ms))


def replay(folder: Path, symbols: Iterable[str], from_ms: int | None = None) -> list[Published]:
    """What a feed publishes that replays `folder`."""
    recording = ReplayRecording(folder, from_ms, 20)
    begin_ms = recording.begin_ms(list(symbols))
    assert begin_ms is not None
    frames: list[bytes] = []
    publisher = Publisher(77, frames.append, lambda: 1, 20, False)
    timeline = Timeline()
    for symbol in symbols:
        market = recording.open(symbol, OPENING._replace(from_ms=begin_ms))
        publisher.open(symbol, market, market.opened_ms or begin_ms)
        timeline.add(symbol, market.stream)
    while timeline.next_ms is not None:
        event_ms, symbol, item = timeline.pop()
        publisher.publish(symbol, event_ms, item)
    return [decode(frame) for frame in frames]


def contents(messages: Iterable[Published]) -> list[tuple[object, ...]]:
    return [content(message) for message in messages]


def flushed(made: Studio) -> None:
    """Wait until all that was published is on disk."""
    wait_for(lambda: made.recorder.report().messages == len(made.frames), "the recording")


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def blocks(path: Path) -> list[Block]:
    reader = BlockReader(path)
    found = [block for block in reader.blocks() if isinstance(block, Block)]
    reader.close()
    return found


def recorded_in_blocks(folder: Path) -> list[Published]:
    """A recording whose every minute is in a block of its own."""
    with studio(folder) as made:
        made.open()
        made.play([quote(minute(0) + 5)])
        flushed(made)
        for index in range(6):
            made.play([quote(minute(index) + 10), (minute(index + 1), bar(index))])
            flushed(made)
        return made.published


def strip(stream: Iterable[tuple[int, Item]]) -> list[Item]:
    return [item for _, item in stream if not isinstance(item, Quote)]


def test_every_kind_of_message_comes_back_bit_for_bit_and_in_its_order(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        for symbol in (BTC, ETH):
            made.open(symbol)
        for index in range(0, 30, 10):
            for symbol in (BTC, ETH):
                made.play(every_kind(index, symbol), symbol)
        published = made.published
        snapshot = made.publisher.snapshot(SnapshotRequest(1, BTC, 20))
    assert {type(message).__name__ for message in published} == {
        *("Tick", "Bar", "Trades", "Book", "MarketConnected", "MarketGap", "MarketStale", "MarketRecovered"),
        *("BarCorrected", "SpecChanged"),
    }
    replayed = replay(tmp_path, (BTC, ETH))
    ends = [message for message in replayed if type(message).__name__ == "MarketEnded"]
    assert len(ends) == 2
    for symbol in (BTC, ETH):
        before = contents(message for message in published if message.symbol == symbol)
        after = contents(message for message in replayed if message.symbol == symbol and message not in ends)
        assert after == before
    assert snapshot is not None
    market = open_at(tmp_path, minute(30) - 1)
    first = next(market.stream)
    assert first == (minute(30), bar(29))
    bars = [*market.history, bar(29)][-20:]
    assert msgspec.msgpack.encode(bars) == msgspec.msgpack.encode([content_of(b) for b in snapshot.bars])


def content_of(message: object) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in Candle._fields)


def test_symbols_interleave_by_event_time_then_alphabetically(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open(ETH, event_ms=START_MS - 3000)
        made.open(BTC)
        for index in range(5):
            made.play([quote(minute(index) + 1)], BTC)
            made.play([quote(minute(index) + 1), quote(minute(index) + 2)], ETH)
            made.play([quote(minute(index) + 2)], BTC)
        published = made.published
    replayed = replay(tmp_path, (BTC, ETH))
    opened = {message.symbol: message.event_ms for message in replayed if isinstance(message, MarketConnected)}
    assert opened == {BTC: START_MS, ETH: START_MS - 3000}
    ticks = [message for message in replayed if isinstance(message, Tick)]
    order = [(tick.event_ms, tick.symbol) for tick in ticks]
    assert order == sorted(order)
    assert sorted(contents(ticks)) == sorted(contents(published[2:]))


def test_a_day_begins_a_file_from_which_a_replay_can_start(tmp_path: Path) -> None:
    midnight = (START_MS // DAY_MS + 1) * DAY_MS
    first = (midnight - START_MS) // 60_000
    with studio(tmp_path) as made:
        made.open(bars=history(first - 5), event_ms=midnight - 5 * 60_000)
        made.play([(minute(first + n), bar(first + n - 1)) for n in range(-4, 0)])
        made.play([quote(midnight + 3), (midnight, bar(first - 1)), quote(midnight + 70_000)])
        made.play([(midnight + 120_000, bar(first + n)) for n in range(2)])
        published = made.published
    assert [path.name[9:17] for path in sorted(tmp_path.iterdir())] == ["20241004", "20241005"]
    assert contents(replay(tmp_path, (BTC,)))[:-1] == contents(published)
    whole = open_at(tmp_path, midnight)
    min(tmp_path.iterdir()).unlink()  # the day before is not needed
    alone = open_at(tmp_path, midnight)
    assert alone.history == whole.history == history(first - 1)
    assert list(alone.stream) == list(whole.stream)
    assert RecordedMarket(tmp_path, BTC).begin_ms == midnight - 1


def test_a_replay_that_starts_in_the_middle_has_the_state_of_that_moment(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play(every_kind())
    stale = open_at(tmp_path, minute(3))
    assert stale.history[-1] == bar(1, 99.0)  # corrected
    assert str(stale.spec.taker_fee) == "0.002"
    assert next(stale.stream) == (minute(3), Stale(minute(3), "nothing came for 4 s"))
    filled = open_at(tmp_path, minute(5))
    assert filled.holes == [Hole(minute(2), 3, True)]
    assert next(filled.stream)[1] == every_kind()[15][1]
    with pytest.raises(MarketDataError, match=r"the recording ends at .* set \[feed\] start earlier"):
        open_at(tmp_path, minute(11))


def test_a_file_cut_off_anywhere_plays_up_to_there(tmp_path: Path) -> None:
    published = recorded_in_blocks(tmp_path / "whole")
    path = only_file(tmp_path / "whole")
    data, heads = path.read_bytes(), blocks(path)
    plain = contents(published)
    for length in {len(data) - 1, *range(heads[2].offset, len(data), 37)}:
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / path.name).write_bytes(data[:length])
        kept = sum(block.messages for block in heads if block.offset + 52 + block.size <= length)
        replayed = contents(replay(folder, (BTC,)))
        assert replayed[:kept] == plain[:kept]
        assert [name for name, *_ in replayed[max(kept, 1) :]] == ["MarketEnded"]


def test_a_damaged_block_is_passed_over_told_and_makes_a_gap(tmp_path: Path) -> None:
    recorded_in_blocks(tmp_path)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    damaged = [block for block in blocks(path) if block.kind == MESSAGES][3:5]  # minutes 2 and 3
    for at in (damaged[0].offset + 60, damaged[1].offset + 5):  # a payload, a head
        data[at] ^= 0x40
    path.write_bytes(data)
    market = open_at(tmp_path, START_MS)
    items = strip(market.stream)
    reason = f"{path.name}: the block at byte {damaged[0].offset} is damaged"
    assert items == [
        *(bar(0), bar(1), Stale(minute(2), reason), Hole(minute(2), 2, True)),
        *(Candle(minute(n), 100.1, 100.1, 100.1, 100.1, 0.0, True) for n in (2, 3)),
        *(bar(4), Recovered(minute(5)), bar(5), Ended(minute(6))),
    ]
    assert len(market.warnings) == 2
    assert market.warnings[0].startswith(f"{path}: the block at byte {damaged[0].offset} is damaged")
    assert f"from byte {damaged[1].offset} on are damaged" in market.warnings[1]


def test_a_damaged_beginning_makes_the_file_before_the_start(tmp_path: Path) -> None:
    midnight = (START_MS // DAY_MS + 1) * DAY_MS
    with studio(tmp_path) as made:
        made.open(event_ms=midnight - 1000)
        made.play([quote(midnight - 500), quote(midnight + 1)])
    last = max(tmp_path.iterdir())
    data = bytearray(last.read_bytes())
    data[blocks(last)[1].offset + 60] ^= 1
    last.write_bytes(data)
    market = open_at(tmp_path, midnight)
    assert isinstance(next(market.stream)[1], Stale)
    assert market.warnings
    min(tmp_path.iterdir()).unlink()
    with pytest.raises(MarketDataError, match="no recording of BTC/USDT with a good beginning"):
        open_at(tmp_path, midnight)


def test_between_two_starts_of_the_feed_the_market_is_stale_and_its_bars_are_taken_over(tmp_path: Path) -> None:
    with studio(tmp_path, epoch=1) as made:
        made.open()
        made.play([(minute(1), bar(0)), (minute(2), bar(1)), quote(minute(2) + 30_000)])
    with studio(tmp_path, epoch=2) as made:
        corrected = [*history(1)[:-1], bar(0, 42.0), *(bar(n) for n in range(1, 5))]
        made.publisher.open(BTC, Market(spec(fee="0.005"), corrected, [], iter(())), minute(5) + 7)
        made.play([quote(minute(2) + 5), quote(minute(5) + 9), (minute(6), bar(5))])
    items = list(open_at(tmp_path, START_MS).stream)
    assert items[3:] == [
        (minute(2) + 30_000, Stale(minute(2) + 30_000, "the feed was started again")),
        (minute(5) + 7, NewSpec(minute(5) + 7, spec(fee="0.005"))),
        (minute(5) + 7, Correction(minute(5) + 7, bar(0, 42.0))),
        *((minute(5) + 7, bar(n)) for n in range(2, 5)),
        (minute(5) + 7, Recovered(minute(5) + 7)),
        quote(minute(5) + 9),  # what came twice is played once
        (minute(6), bar(5)),
        (minute(6), Ended(minute(6))),
    ]


def test_recordings_of_two_markets_are_not_joined(tmp_path: Path) -> None:
    for epoch, origin in enumerate(("simulated seed=1", "simulated seed=2")):
        with studio(tmp_path, epoch=epoch, origin=origin) as made:
            made.open()
            made.play(every_kind())
    with pytest.raises(MarketDataError, match=r"seed=1\) and .*seed=2\) are of different markets"):
        open_at(tmp_path, START_MS)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
    path = only_file(tmp_path)
    other = path.with_name(path.name.replace("-0001", "-0002"))
    other.write_bytes(b"something else altogether")
    with pytest.raises(MarketDataError, match=r"-0002\.levifeed: is no recording of a feed"):
        open_at(tmp_path, 0)
    other.write_bytes(b"")  # the disk was full when it was begun
    assert open_at(tmp_path, 0).history == history()
    shutil.copy(path, tmp_path / "BTC-USDT-copy.levifeed")  # not a name of ours: left alone
    assert open_at(tmp_path, 0).history == history()
    with pytest.raises(MarketDataError, match=r"no data of ETH/USDT; expected .* ETH-USDT-…\.levifeed"):
        ReplayRecording(tmp_path, None, 20).open(ETH, OPENING)


def test_a_stale_market_is_told_at_once_when_play_begins_there(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play([quote(minute(0) + 1), (minute(0) + 2, Stale(minute(0) + 2, "lost")), quote(minute(1))])
    messages = replay(tmp_path, (BTC,), minute(0) + 30)
    assert [message.reason for message in messages if isinstance(message, MarketStale)] == ["lost"]
