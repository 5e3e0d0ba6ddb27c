"""Events and snapshots of a market: the later one counts, whichever comes first, and what is lost is found."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import (
    MarketConnected,
    MarketEnded,
    MarketEvent,
    MarketRecovered,
    MarketSpec,
    MarketStale,
    Snapshot,
    SnapshotRefused,
    SpecChanged,
)
from levibot.market.board import MarketBoard
from tests.engine.scene import SECOND, SYMBOL, market_spec

OPEN = market_spec()
HALTED = msgspec.structs.replace(OPEN, active=False)


class Told:
    """A board and what it told."""

    def __init__(self) -> None:
        self.news: list[tuple[bool | None, str]] = []
        self.now_ns = SECOND
        self.board = MarketBoard(lambda _, spec, stale: self.news.append((spec and spec.active, stale)))

    def heed(self, *events: MarketEvent) -> list[tuple[bool | None, str]]:
        self.news.clear()
        for event in events:
            self.board.heed(event)
        return self.news

    def learn(
        self, epoch: int, seq: int, spec: MarketSpec = OPEN, stale: str = ""
    ) -> list[tuple[bool | None, str]]:
        self.news.clear()
        self.board.learn(Snapshot(1, SYMBOL, epoch, seq, spec, [], [], stale=stale))
        return self.news

    def asked(self, *symbols: str) -> list[str]:
        self.now_ns += SECOND // 2
        return [request.symbol for request in self.board.ask(symbols, self.now_ns)]


def stale(seq: int, epoch: int = 1) -> MarketStale:
    return MarketStale(SYMBOL, epoch, seq, 0, "silent")


def test_a_snapshot_begins_and_events_go_on_from_there() -> None:
    told = Told()
    assert told.heed(stale(4)) == [(None, "silent")]
    assert told.learn(1, 3) == [], "older than the event"
    assert told.learn(1, 5, stale="silent") == [(True, "silent")]
    assert told.heed(MarketRecovered(SYMBOL, 1, 6, 0)) == [(True, "")]
    assert told.heed(SpecChanged(SYMBOL, 1, 7, 0, HALTED)) == [(False, "")]
    assert told.heed(stale(6), stale(7)) == [], "known"
    assert told.learn(1, 7, HALTED) == [], "no news"
    assert told.heed(MarketEnded(SYMBOL, 1, 8, 0)) == [(False, "market data has ended")]


def test_a_new_feed_begins_anew_and_is_asked_at_once() -> None:
    told = Told()
    told.learn(1, 50, HALTED, "silent")
    assert told.heed(MarketConnected(SYMBOL, 2, 1, 0)) == [(False, "")]
    assert [told.asked(SYMBOL) for _ in range(3)] == [[SYMBOL]] * 3
    assert told.learn(1, 51, HALTED) == []
    assert told.learn(2, 1) == [(True, "")]


def test_each_known_market_is_looked_at_again_in_five_seconds() -> None:
    told = Told()
    for symbol in (symbols := [f"A{number}/USDT" for number in range(25)]):
        spec = msgspec.structs.replace(OPEN, symbol=symbol)
        told.board.learn(Snapshot(1, symbol, 1, 1, spec, [], []))
    asked = []
    for _ in range(10):
        asked += told.asked(*symbols)
        told.board.learn(SnapshotRefused(1, "A1/USDT", "not now"))
    assert sorted(asked) == sorted(symbols)


def test_an_unknown_market_is_asked_for_until_it_is_known_or_the_feed_is_absent() -> None:
    told = Told()
    assert [told.asked(SYMBOL) for _ in range(10)] == [[SYMBOL]] * 10
    assert sum(len(told.asked(SYMBOL)) for _ in range(20)) == 2, "no heap of questions waits for the feed"
    told.board.learn(SnapshotRefused(1, SYMBOL, "opening"))
    told.now_ns += 5 * SECOND
    assert [told.asked(SYMBOL) for _ in range(3)] == [[SYMBOL]] * 3
    told.learn(1, 1)
    told.board.forget(SYMBOL)
    assert told.asked(SYMBOL) == [SYMBOL]


@given(st.permutations(range(6)))
def test_in_whatever_order_events_and_snapshots_come_the_newest_stands(order: list[int]) -> None:
    told = Told()
    steps = (
        lambda: told.board.heed(stale(1)),
        lambda: told.board.heed(MarketRecovered(SYMBOL, 1, 2, 0)),
        lambda: told.board.learn(Snapshot(1, SYMBOL, 1, 2, OPEN, [], [])),
        lambda: told.board.heed(SpecChanged(SYMBOL, 1, 3, 0, HALTED)),
        lambda: told.board.heed(stale(4)),
        lambda: told.board.learn(Snapshot(1, SYMBOL, 1, 4, HALTED, [], [], stale="silent")),
    )
    for number in order:
        steps[number]()
    assert told.news[-1] == (False, "silent")
