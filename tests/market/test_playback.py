"""Symbols are merged in one order, and market time neither jumps after a stall nor runs while the feed is down."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from levibot.market.path import Ended, Item
from levibot.market.playback import MarketClock, Playback, Timeline
from levibot.market.recording import Opening
from levibot.market.simulated import ORIGIN_MS, SimulatedRecording
from levibot.market.source import Step


@given(st.dictionaries(st.sampled_from("ABCDE"), st.lists(st.integers(0, 9)).map(sorted)))
def test_a_timeline_is_ordered_by_time_then_symbol_and_loses_nothing(times: dict[str, list[int]]) -> None:
    timeline = Timeline()
    for symbol, moments in times.items():
        timeline.add(symbol, iter([(at, Ended(at)) for at in moments]))
    taken = []
    while timeline.next_ms is not None:
        at, symbol, _ = timeline.pop()
        taken.append((at, symbol))
    assert taken == sorted((at, symbol) for symbol, moments in times.items() for at in moments)


def test_the_last_symbol_of_a_timeline_comes_after_the_others_of_its_time_alone() -> None:
    timeline = Timeline(last="A")
    for symbol in "CAB":
        timeline.add(symbol, iter([(1, Ended(1)), (2, Ended(2))]))
    taken = []
    while timeline.next_ms is not None:
        taken.append(timeline.pop()[:2])
    assert taken == [(1, "B"), (1, "C"), (1, "A"), (2, "B"), (2, "C"), (2, "A")]


def test_a_removed_symbol_is_silent_and_an_added_one_replaces_its_former_stream() -> None:
    timeline = Timeline()
    timeline.add("A", iter([(1, Ended(1)), (2, Ended(2))]))
    timeline.add("B", iter([(3, Ended(3))]))
    timeline.remove("A")
    timeline.add("A", iter([(5, Ended(5))]))
    timeline.remove("B")
    assert timeline.next_ms == 5
    assert timeline.pop() == (5, "A", Ended(5))
    assert timeline.next_ms is None


def test_market_time_runs_at_its_speed_and_makes_up_for_one_second_of_a_stall_at_most() -> None:
    clock = MarketClock(1_000, 60.0)
    assert clock.advance(5_000_000_000) == 1_000
    assert clock.advance(5_100_000_000) == 7_000
    assert clock.seconds_until(13_000) == 0.1
    assert clock.advance(5_100_000_000 + 3_600_000_000_000) == 67_000


def test_a_symbol_begun_later_joins_at_the_present_market_time() -> None:
    published: list[tuple[str, int]] = []

    def publish(symbol: str, event_ms: int, item: Item) -> Step:
        published.append((symbol, event_ms))
        return Step(symbol, "tick", 0)

    async def play() -> int:
        opening = Opening(0, 10, 120, 1_000.0)
        playback = Playback(SimulatedRecording(7), ["A/B"], opening, None, 3_000.0, lambda *_: None)
        playback.begin("A/B", await playback.open("A/B"))
        assert playback.position_ms == ORIGIN_MS
        async with asyncio.timeout(60):
            running = asyncio.create_task(playback.run(publish))
            while len(published) < 50:
                await asyncio.sleep(0.001)
            begun_at = playback.position_ms
            playback.begin("C/D", await playback.open("C/D"))
            while not any(symbol == "C/D" for symbol, _ in published):
                await asyncio.sleep(0.001)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return begun_at

    begun_at = asyncio.run(play())
    assert min(at for symbol, at in published if symbol == "C/D") >= begun_at
    own = [at for symbol, at in published if symbol == "A/B"]
    assert own == sorted(own)
