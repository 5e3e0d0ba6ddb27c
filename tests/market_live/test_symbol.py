"""One live symbol: quotes, books and trades become ticks, at once and not too many."""

from __future__ import annotations

import math

import pytest

from levibot.exchange.validation import BookSnapshot
from levibot.market.path import BookLevels, Quote
from tests.market_live.driven import START_MS, WITHOUT_IDS, Driven, trade


def test_the_first_quote_makes_it_live_and_nothing_else_is_said() -> None:
    one = Driven()
    one.feed.on_restored()
    one.go(1_000)
    assert (one.feed.state, one.said) == ("opening", [])
    one.quote()
    assert one.feed.state == "live"
    (quote,) = one.items(Quote)
    assert quote == Quote(START_MS + 1_000, 99.0, 101.0, 100.0, 0.0, one.now_ns())
    assert len(one.said) == 1


def test_without_any_trade_the_last_price_is_the_middle_of_the_book() -> None:
    one = Driven(history=[])
    one.feed.on_restored()
    one.quote(98.0, 99.0)
    assert [item.last for item in one.items(Quote)] == [98.5]


def test_a_burst_of_quotes_is_conflated_and_the_last_one_is_told() -> None:
    one = Driven(live_tick_hz=10)
    one.live()
    for step in range(1, 100):
        one.now_ms += 1
        one.quote(99.0 - step / 100, 101.0)
    assert len(one.items(Quote)) == 1
    one.go(300, 20)
    quotes = one.items(Quote)
    assert len(quotes) == 2
    assert quotes[-1].bid == 98.01
    assert quotes[-1].received_ns == one.now_ns() - (300 - 99) * 1_000_000
    one.check_promises(10)


def test_a_trade_makes_a_tick_with_the_volume_since_the_one_before() -> None:
    one = Driven(live_tick_hz=10)
    one.live(trade(1, -500))
    one.go(200)
    one.trades(trade(2, 190, 100.5, 0.25), trade(3, 195, 100.25, 0.5))
    assert (one.items(Quote)[-1].last, one.items(Quote)[-1].volume) == (100.25, 0.75)
    one.trades(trade(4, 198, 100.75, 2.0))
    one.go(400)
    assert (one.items(Quote)[-1].last, one.items(Quote)[-1].volume) == (100.75, 2.0)
    one.check_promises(10)


def test_books_are_conflated_too_and_the_last_one_is_told() -> None:
    one = Driven(book_hz=5)
    one.live()
    for _ in range(30):
        one.book(98.0 + one.now_ms / 1000)
        one.go(one.now_ms + 20)
    one.go(one.now_ms + 500)
    books = one.items(BookLevels)
    assert 3 <= len(books) <= 5
    assert books[-1].bids == [(98.58, 1.0)]
    assert one.feed.health().books == len(books)


@pytest.mark.parametrize(
    ("bid", "ask"), [(101.0, 99.0), (100.0, 100.0), (0.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_a_quote_that_makes_no_sense_is_refused_and_is_no_sign_of_life(bid: float, ask: float) -> None:
    one = Driven()
    one.live()
    one.go(1_000)
    before = len(one.items(Quote))
    one.quote(bid, ask)
    one.feed.on_book(BookSnapshot([(bid, 1.0)], [(ask, 1.0)], None, None), one.now_ns())
    one.go(1_100)
    assert len(one.items(Quote)) == before
    assert one.items(BookLevels) == []
    assert one.feed.health().malformed == 2
    assert one.feed.quote_silence_ns(one.now_ns()) == 1_100_000_000


def test_without_a_stream_of_quotes_they_are_the_top_of_the_book() -> None:
    one = Driven(WITHOUT_IDS)
    one.feed.on_restored()
    one.book(98.0, 99.0)
    assert one.feed.top == (98.0, 99.0)
    assert one.feed.state == "live"


def test_a_book_takes_over_where_the_quotes_are_silent() -> None:
    one = Driven()
    one.live()
    one.book(98.0, 99.0)
    assert one.feed.top == (99.0, 101.0)
    one.go(1_500)
    one.book(98.0, 99.0)
    assert one.feed.top == (98.0, 99.0)
