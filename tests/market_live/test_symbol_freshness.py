"""One live symbol: what is stale, for how long, and what makes it fresh again."""

from __future__ import annotations

import math

from levibot.market.bars import MINUTE_MS
from levibot.market.path import Quote, Recovered, Stale
from tests.market_live.driven import START_MS, Driven, candle, trade


def test_silence_makes_it_stale_once_and_a_quote_fresh_again() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(4_000)
    assert one.feed.state == "live"
    one.go(20_000)
    assert one.feed.state == "stale: no price for 4 s"
    assert len(one.items(Stale)) == 1
    one.quote()
    one.go(20_050)
    assert one.items(Recovered) == [Recovered(START_MS + 20_050)]
    assert one.feed.health().stales == 1


def test_silence_that_the_exchange_confirms_is_right() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    for second in range(2, 600, 2):
        one.go(second * 1_000)
        one.feed.confirm_quotes()
        one.feed.confirm_trades()
    assert one.feed.state == "live"
    assert one.items(Stale) == []
    quote = one.items(Quote)[-1]
    assert (quote.volume, quote.received_ns) == (0.0, one.now_ns())
    assert one.feed.trade_silence_ns(one.now_ns()) == 0


def test_lost_streams_are_stale_at_once_and_fresh_when_quotes_and_trades_are() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(1_000)
    one.feed.on_lost("the exchange closed the connection")
    assert one.feed.state == "stale: the exchange closed the connection"
    one.go(2_000)
    one.feed.on_restored()
    one.go(2_100)
    assert one.feed.state == "stale: no price since the streams were begun"
    one.quote()
    one.go(2_200)
    assert one.feed.state == "stale: gap in trades"
    one.rest(trade(1, -5_000), trade(2, 1_500))
    assert one.feed.state == "live"
    assert one.ids == ["2"]
    assert one.feed.health().renewals == 1
    assert one.feed.health().gaps == 1


def test_no_tick_shows_prices_of_before_the_streams_were_lost() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.go(1_000)
    one.feed.on_lost("reset")
    one.feed.on_restored()
    ticks = len(one.items(Quote))
    one.trades(trade(2, 990, 103.0))
    one.go(1_500)
    assert len(one.items(Quote)) == ticks
    one.feed.confirm_quotes()
    assert one.items(Quote)[ticks:] == [Quote(START_MS + 1_500, 99.0, 101.0, 103.0, 1.0, one.now_ns())]


def test_what_contradicts_the_exchange_is_stale_until_it_is_begun_anew() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.feed.doubt("the exchange has 98 / 99")
    one.quote()
    one.rest(trade(1, -5_000))
    one.go(1_000)
    assert one.feed.state == "stale: the exchange has 98 / 99"
    one.feed.on_restored()
    one.quote()
    one.rest(trade(1, -5_000))
    assert one.feed.state == "live"


def test_a_bar_that_nobody_brings_makes_it_stale() -> None:
    one = Driven()
    one.go(30_000)
    one.live(trade(7, 29_000))
    for _ in range(25):
        one.go(one.now_ms + 2_000)
        one.feed.confirm_quotes()
    assert one.feed.state == "stale: a bar is overdue"
    one.feed.add_bars([candle(0)], START_MS + MINUTE_MS)
    assert one.feed.state == "live"


def test_trades_of_the_future_and_of_long_ago_are_refused_and_counted() -> None:
    one = Driven()
    one.live(trade(1, -5_000))
    one.trades(trade(2, 61_000), trade(3, -500_000), trade(4, 0, math.nan), trade(5, 0, 1.0, math.inf))
    health = one.feed.health()
    assert (health.malformed, health.late, one.ids) == (3, 1, [])


def test_a_nonsensical_time_of_a_quote_does_not_become_the_time_of_all_that_follows() -> None:
    one = Driven()
    one.live()
    one.go(1_000)
    one.feed.on_quote(99.0, 102.0, START_MS + 3_600_000, one.now_ns())
    assert one.items(Quote)[-1].event_ms == START_MS + 1_000


def test_the_lag_is_that_of_the_newest_frame() -> None:
    one = Driven()
    one.live()
    one.go(1_000)
    one.feed.on_quote(99.0, 102.0, START_MS + 900, one.now_ns() - 40_000_000)
    assert one.feed.health().lag_ms == 60


def test_a_price_that_was_confirmed_while_the_streams_were_lost_is_not_new_when_they_are_back() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.feed.on_lost("a test")
    one.go(1_000)
    one.feed.confirm_quotes()
    one.go(20_000)
    one.feed.on_restored()
    one.rest(trade(1, -500))
    ticks = len(one.items(Quote))
    one.trades(trade(2, 20_000))
    one.go(21_000)
    assert len(one.items(Quote)) == ticks
    assert not one.items(Recovered)
    one.quote(98.0, 99.0)
    one.go(21_100)
    assert one.items(Recovered)


def test_a_trade_that_requests_never_show_does_not_keep_it_stale_for_ever() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 100))  # such as one that is told by the stream alone
    one.feed.on_lost("a test")
    one.feed.on_restored()
    one.quote()
    one.rest(trade(1, -500))
    assert one.feed.wants_trades  # it may be behind
    for at_ms in range(1_000, 17_000, 1_000):
        one.go(at_ms)
        one.quote()
    one.rest(trade(1, -500))
    assert not one.feed.wants_trades
    assert one.feed.state == "live"


def test_from_the_first_trade_of_a_stream_on_all_are_told_though_other_streams_are_not_there_yet() -> None:
    one = Driven()
    one.go(1_000)
    one.trades(trade(7, 900))
    one.go(1_500)
    one.live(trade(6, 800), trade(7, 900), trade(8, 1_200))
    assert one.ids == ["7", "8"]
