"""Numbers have no hole, and a snapshot is exactly what was published so far."""

from __future__ import annotations

from levibot.bus.codec import FrameDecoder
from levibot.bus.messages import Bar, MarketConnected, MarketGap, SnapshotRequest, Tick
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.market.path import Quote
from levibot.market.publisher import Publisher
from levibot.market.recording import Market
from levibot.market.source import Step
from levibot.market.specs import market_spec


def candle(minute: int, synthetic: bool = False) -> Candle:
    return Candle(minute * MINUTE_MS, 5.0, 6.0, 4.0, 5.5, 1.0, synthetic)


def market(*minutes: int, holes: tuple[Hole, ...] = ()) -> Market:
    return Market(market_spec("A/USDT", 5.0), [candle(minute) for minute in minutes], list(holes), iter(()))


class Sent:
    """A publisher and what it sent."""

    def __init__(self, capacity: int = 3, lockstep: bool = False) -> None:
        self.frames: list[bytes] = []
        self.publisher = Publisher(99, self.frames.append, lambda: 7, capacity, lockstep)

    def messages(self) -> list[object]:
        decode = FrameDecoder()
        return [decode(data) for data in self.frames]


def test_ticks_and_bars_are_numbered_apart_and_a_tick_names_the_last_bar() -> None:
    sent = Sent()
    sent.publisher.open("A/USDT", market(1, 2), 3 * MINUTE_MS)
    steps = [
        sent.publisher.publish("A/USDT", 1, Quote(1, 4.0, 5.0, 4.5, 1.0)),
        sent.publisher.publish("A/USDT", 2, candle(3)),
        sent.publisher.publish("A/USDT", 3, Quote(3, 4.0, 5.0, 4.5, 1.0)),
    ]
    assert steps == [Step("A/USDT", "tick", 1), Step("A/USDT", "bar", 2), Step("A/USDT", "tick", 2)]
    connected, first, bar, second = sent.messages()
    assert isinstance(connected, MarketConnected)
    assert isinstance(first, Tick)
    assert isinstance(bar, Bar)
    assert isinstance(second, Tick)
    assert (connected.seq, first.reliable_seq, bar.seq, second.reliable_seq) == (1, 1, 2, 2)
    assert (bar.epoch, bar.received_ns) == (99, 7)


def test_a_snapshot_holds_the_newest_bars_their_gaps_and_the_last_tick() -> None:
    sent = Sent(capacity=3)
    sent.publisher.open("A/USDT", market(1, 5, holes=(Hole(2 * MINUTE_MS, 3, False),)), 6 * MINUTE_MS)
    for item in (Hole(6 * MINUTE_MS, 1, True), candle(6, True), candle(7)):
        sent.publisher.publish("A/USDT", 8 * MINUTE_MS, item)
    sent.publisher.publish("A/USDT", 9, Quote(9, 4.0, 5.0, 4.5, 1.0))
    snapshot = sent.publisher.snapshot(SnapshotRequest(1, "A/USDT", 10))
    assert snapshot is not None
    assert [bar.open_ms // MINUTE_MS for bar in snapshot.bars] == [5, 6, 7]
    assert [bar.seq for bar in snapshot.bars] == [0, 3, 4]
    assert snapshot.seq == 4
    assert [gap.from_ms // MINUTE_MS for gap in snapshot.gaps] == [6]  # the older hole lies before the bars
    assert snapshot.last_tick is not None
    assert snapshot.last_tick.seq == 1
    fewer = sent.publisher.snapshot(SnapshotRequest(2, "A/USDT", 1))
    assert fewer is not None
    assert [bar.open_ms // MINUTE_MS for bar in fewer.bars] == [7]
    assert sent.publisher.snapshot(SnapshotRequest(3, "B/USDT", 1)) is None


def test_a_symbol_that_comes_back_goes_on_with_its_numbers_and_a_new_history() -> None:
    sent = Sent()
    sent.publisher.open("A/USDT", market(1), 0)
    sent.publisher.publish("A/USDT", 0, candle(2))
    sent.publisher.close("A/USDT")
    assert sent.publisher.snapshot(SnapshotRequest(1, "A/USDT", 1)) is None
    sent.publisher.open("A/USDT", market(8, 9), 0)
    snapshot = sent.publisher.snapshot(SnapshotRequest(1, "A/USDT", 5))
    assert snapshot is not None
    assert snapshot.seq == 3
    assert [bar.open_ms // MINUTE_MS for bar in snapshot.bars] == [8, 9]


def test_a_repetition_is_the_same_step_or_before_it_the_announcements() -> None:
    sent = Sent(lockstep=True)
    sent.publisher.open("A/USDT", market(1), 0)
    sent.publisher.repeat()
    assert sent.frames[1] == sent.frames[0]
    sent.publisher.publish("A/USDT", 0, Hole(2 * MINUTE_MS, 1, True))
    sent.publisher.repeat()
    assert sent.frames[3] == sent.frames[2]
    step = sent.messages()[3]
    assert isinstance(step, MarketGap)
    assert step.lockstep
