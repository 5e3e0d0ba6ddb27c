"""When the markets are read again out of turn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from levibot.market.live.market_watch import MarketWatch
from levibot.market.live.pauses import Refusals

_NS = 1_000_000_000


@dataclass
class Feed:
    """What the watch sees of a symbol."""

    heard_ns: int = 0
    trades_now: bool = True


def readings(watch: MarketWatch, seconds: range) -> list[int]:
    """Seconds at which the markets are read."""
    found = []
    for second in seconds:
        if watch.wants(second * _NS):
            watch.has_read(second * _NS)
            found.append(second)
    return found


def test_a_symbol_that_freezes_is_looked_after_at_once_and_then_more_and_more_seldom() -> None:
    feeds: Any = {"BTC/USDT": Feed()}
    watch = MarketWatch(feeds, Refusals())
    watch.has_read(0)
    found = readings(watch, range(4_000))
    assert found == [60, 120, 240, 480, 960, 1920, 3840]


def test_a_symbol_that_is_refused_is_looked_after_though_it_was_heard_of() -> None:
    feeds: Any = {"BTC/USDT": Feed(heard_ns=4_000 * _NS)}
    refusals = Refusals()
    watch = MarketWatch(feeds, refusals)
    assert readings(watch, range(100, 300)) == []
    refusals.note("BTC/USDT", 300 * _NS)
    found = readings(watch, range(300, 3_000))
    assert found[0] == 300
    assert max(b - a for a, b in pairwise(found[3:])) == 600


def test_a_halted_market_that_is_heard_of_again_is_read_within_a_minute() -> None:
    feed = Feed(heard_ns=1, trades_now=False)
    feeds: Any = {"BTC/USDT": feed}
    watch = MarketWatch(feeds, Refusals())
    readings(watch, range(1_000))
    feed.heard_ns = 1_000 * _NS
    assert readings(watch, range(1_000, 1_062))
    watch.changed("BTC/USDT")
    feed.trades_now, feed.heard_ns = True, 2_000 * _NS
    assert readings(watch, range(2_000, 2_020)) == []
