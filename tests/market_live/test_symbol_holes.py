"""One live symbol: trades each once, and holes that are closed by overlap alone."""

from __future__ import annotations

from levibot.market.path import Stale, TradeBatch
from tests.market_live.driven import START_MS, Driven, trade


def test_trades_that_come_twice_or_late_are_published_once() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.go(1_000)
    one.trades(trade(2, 900), trade(4, 920))
    one.go(1_100)
    one.trades(trade(3, 910), trade(4, 920))
    one.go(2_000)
    assert one.ids == ["2", "4", "3"]
    assert one.feed.health().duplicates == 1
    assert one.feed.health().gaps == 0
    assert one.feed.state == "live"


def test_a_jump_in_the_ids_is_a_hole_until_it_is_read_with_overlap() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(3_000)
    one.quote()
    one.trades(trade(2, 2_900), trade(5, 2_950))
    assert not one.feed.wants_trades
    one.go(3_400)
    assert one.feed.wants_trades
    assert one.feed.state == "stale: gap in trades"
    assert [item.reason for item in one.items(Stale)] == ["gap in trades"]
    assert one.feed.forming() is None
    one.rest(*(trade(number, at) for number, at in ((1, -5_000), (2, 2_900), (3, 2_910), (4, 2_920), (5, 2_950))))
    assert not one.feed.wants_trades
    assert one.ids == ["2", "5", "3", "4"]
    assert [batch.backfilled for batch in one.items(TradeBatch)] == [False, True]
    assert one.feed.state == "live"
    assert one.feed.forming() == (START_MS, 4.0)
    one.check_promises()


def test_ids_that_the_exchange_never_gave_are_no_hole_for_ever() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(5_000)
    one.quote()
    one.trades(trade(2, 4_900), trade(5, 4_950))
    one.go(5_400)
    one.rest(trade(1, -5_000), trade(2, 4_900), trade(5, 4_950))
    for second in range(6, 12):
        one.go(1_000 * second)
        one.quote()
    assert one.feed.state == "live"


def test_an_answer_that_lags_behind_the_stream_closes_nothing() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(5_000)
    one.trades(trade(2, 4_900), trade(5, 4_950))
    one.go(5_400)
    one.rest(trade(1, -5_000), trade(2, 4_900))
    assert one.feed.wants_trades


def test_an_answer_to_what_was_asked_before_the_streams_were_there_closes_nothing() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(1_000)
    asked_ns = one.now_ns()
    one.go(1_500)
    one.feed.on_lost("reset")
    assert not one.feed.wants_trades  # nobody listens to what follows
    one.feed.on_restored()
    one.feed.add_trades([trade(1, -5_000), trade(2, 900)], asked_ns)
    assert one.ids == ["2"]
    assert one.feed.wants_trades


def test_an_answer_that_does_not_reach_back_leaves_the_bar_to_the_exchange() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.trades(trade(2, 10))
    one.go(1_000)
    one.feed.on_lost("reset")
    one.go(21_000)
    one.feed.on_restored()
    one.quote()
    one.rest(trade(90, 20_000), trade(91, 20_500))
    assert not one.feed.wants_trades
    one.go(21_100)
    assert one.feed.state == "live"  # no bar is missing that is over
    one.go(61_000)
    assert one.feed.bars_from_ms == START_MS
