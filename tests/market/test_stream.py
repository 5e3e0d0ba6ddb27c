"""Losses, repetitions and restarts of the feed: what is applied has no hole and nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Bar, Snapshot, Tick
from levibot.market.stream import MarketStream
from tests.engine.scene import SYMBOL, market_spec


def bar(epoch: int, seq: int) -> Bar:
    return Bar(SYMBOL, epoch, seq, seq * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0)


def tick(epoch: int, seq: int, reliable_seq: int) -> Tick:
    return Tick(SYMBOL, epoch, seq, reliable_seq, 0, 0, 1.0, 1.0, 1.0)


def snapshot(epoch: int, seq: int) -> Snapshot:
    return Snapshot(1, SYMBOL, epoch, seq, market_spec(), [], [])


def test_what_came_while_the_snapshot_was_on_its_way_is_applied_after_it() -> None:
    stream = MarketStream()
    assert not any(stream.reliable(bar(1, seq)) for seq in (4, 5, 6))
    assert [message.seq for message in stream.load(snapshot(1, 5))] == [6]
    assert stream.reliable(bar(1, 7))
    assert not stream.reliable(bar(1, 7))


def test_a_tick_shows_a_hole_that_no_later_bar_has_shown_yet() -> None:
    stream = MarketStream()
    stream.load(snapshot(1, 5))
    assert stream.tick(tick(1, 1, 5))
    assert not stream.waiting
    assert stream.tick(tick(1, 2, 6))
    assert "6 to 6" in stream.waiting


def test_dropped_ticks_are_counted_but_not_across_a_restart_of_the_feed() -> None:
    stream = MarketStream()
    stream.load(snapshot(1, 0))
    for epoch, seq in ((1, 10), (1, 13), (1, 12), (2, 1), (2, 2)):
        stream.tick(tick(epoch, seq, 0))
    assert stream.dropped == 2
    assert "started again" in stream.waiting


def test_a_feed_that_was_only_heard_of_makes_it_wait_too() -> None:
    stream = MarketStream()
    stream.load(snapshot(1, 3))
    stream.meet(1)
    assert not stream.waiting
    stream.meet(2)
    assert stream.waiting


@given(st.lists(st.sampled_from(["bar", "lost bar", "tick", "restart", "snapshot", "repeat"]), max_size=60))
def test_nothing_is_missed_and_nothing_applied_twice(actions: list[str]) -> None:
    stream, epoch, seq, ticks = MarketStream(), 1, 0, 0
    known = 0  # newest bar of this epoch that the receiver has, by the stream or in a snapshot

    def receive(message: Bar) -> None:
        nonlocal known
        if stream.reliable(message):
            assert message.epoch == epoch
            assert message.seq == known + 1
            known = message.seq

    for action in [*actions, "tick", "snapshot", "bar"]:
        if action in ("bar", "lost bar"):
            seq += 1
            if action == "bar":
                receive(bar(epoch, seq))
        elif action == "repeat" and seq:
            receive(bar(epoch, seq))
        elif action == "tick":
            ticks += 1
            stream.tick(tick(epoch, ticks, seq))
            assert stream.waiting or known == seq
        elif action == "restart":
            epoch, seq, ticks, known = epoch + 1, 0, 0, 0
        elif action == "snapshot" and stream.waiting:
            assert stream.load(snapshot(epoch, seq)) == []
            known = seq
    assert known == seq
