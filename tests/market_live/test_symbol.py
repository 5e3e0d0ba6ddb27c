"""One live symbol: quotes at once and not too many, bars in order, holes marked and closed, silence judged."""

from __future__ import annotations

import math

import pytest

from levibot.exchange.validation import BookSnapshot
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.market.path import BookLevels, Correction, Quote, Recovered, Stale, TradeBatch
from tests.market_live.driven import START_MS, WITHOUT_IDS, Driven, trade


def candle(minute: int, price: float = 100.0, volume: float = 3.0) -> Candle:
    return Candle(START_MS + minute * MINUTE_MS, price, price, price, price, volume)


def bars(one: Driven) -> list[tuple[float, ...]]:
    """Bars without their flow, as tuples."""
    return [bar[:7] for bar in one.items(Candle)]


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


# ---------------------------------------------------------------------- bars


def test_a_minute_of_trades_becomes_a_bar_shortly_after_its_end() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.go(1_000)
    one.trades(trade(2, 900, 101.0, 1.0), trade(3, 950, 98.0, 0.5))
    one.go(59_000)
    one.quote()
    one.trades(trade(4, 58_990, 99.0, 0.25))
    one.go(60_299)
    assert one.items(Candle) == []
    one.go(60_400)
    assert bars(one) == [Candle(START_MS, 101.0, 101.0, 98.0, 99.0, 1.75)[:7]]
    assert one.feed.unchecked_ms == START_MS
    assert one.feed.bars_from_ms is None


def test_a_bar_of_trades_tells_who_bought_and_how_easily() -> None:
    one = Driven()
    one.live(trade(1, -500))  # with a quote
    one.go(1_000)
    one.trades(trade(2, 900, amount=1.0), trade(3, 950, amount=0.5, side="sell"), trade(4, 960, amount=0.25))
    one.book()
    one.go(20_000)
    one.quote(99.5, 100.5)
    one.go(60_400)
    one.quote(1.0, 2.0)  # belongs to the next minute
    (bar,) = one.items(Candle)
    ticks = [quote for quote in one.items(Quote) if quote.event_ms < START_MS + MINUTE_MS]
    assert (bar.volume, bar.buy_volume, bar.trades) == (1.75, 1.25, 3.0)
    assert bar.spread == pytest.approx(sum((tick.ask - tick.bid) / 100.0 for tick in ticks) / len(ticks))
    assert 0.01 < bar.spread < 0.02
    assert bar.imbalance == pytest.approx(-1 / 3)  # 1 to 2


def test_a_bar_says_nothing_of_takers_where_the_exchange_does_not_and_nothing_of_books_without_one() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 900, amount=1.0), trade(3, 950, amount=0.5, side=None))
    one.go(60_400)
    (bar,) = one.items(Candle)
    assert math.isnan(bar.buy_volume)
    assert bar.trades == 2
    assert math.isnan(bar.imbalance)


def test_a_minute_without_trades_is_flagged_and_is_no_fault() -> None:
    one = Driven()
    one.live(trade(1, -500))
    for second in range(0, 130, 2):
        one.feed.confirm_quotes()
        one.go(second * 1_000)
    assert one.items(Candle) == [Candle(START_MS + m * MINUTE_MS, *[100.0] * 4, 0.0, True) for m in (0, 1)]
    assert one.items(Hole) == []
    assert one.feed.state == "live"
    assert one.feed.health().synthetic == 2


def test_a_minute_that_began_before_all_was_known_waits_for_the_exchange() -> None:
    one = Driven()
    one.go(30_000)
    one.live(trade(7, 29_000), trade(8, 29_500))
    assert one.feed.forming() is None
    one.go(60_200)
    assert one.feed.bars_from_ms is None
    one.go(61_000)
    assert one.feed.bars_from_ms == START_MS
    one.trades(trade(9, 60_900, 103.0))
    assert one.items(Candle) == []
    one.feed.add_bars([candle(0)], START_MS + MINUTE_MS)
    one.quote()
    assert one.feed.bars_from_ms is None
    one.go(121_000)
    assert bars(one) == [candle(0)[:7], candle(1, 103.0, 1.0)[:7]]
    assert one.feed.unchecked_ms == START_MS + MINUTE_MS
    assert one.feed.health().backfilled == 1


def test_the_newest_trades_complete_the_minute_that_was_under_way_and_are_no_news() -> None:
    one = Driven()
    one.go(30_000)
    one.live(trade(6, -1), trade(7, 100, 99.0), trade(8, 29_500, 98.0))
    assert one.feed.forming() == (START_MS, 2.0)
    assert one.ids == []
    one.go(61_000)
    assert bars(one) == [Candle(START_MS, 99.0, 99.0, 98.0, 98.0, 2.0)[:7]]


def test_what_the_exchange_lacks_is_one_hole_and_flagged_bars() -> None:
    one = Driven()
    one.feed.on_restored()
    one.quote()
    one.go(5 * MINUTE_MS + 1_000)
    one.feed.add_bars([candle(0), candle(3)], START_MS + 5 * MINUTE_MS)
    assert one.items(Hole) == [
        Hole(START_MS + MINUTE_MS, 2, True),
        Hole(START_MS + 4 * MINUTE_MS, 1, True),
    ]
    assert [bar.synthetic for bar in one.items(Candle)] == [False, True, True, False, True]
    one.check_promises()


def test_a_hole_that_is_too_long_is_told_and_left_open() -> None:
    one = Driven(max_gap_minutes=1)
    one.feed.on_restored()
    one.go(5 * MINUTE_MS + 1_000)
    one.feed.add_bars([candle(0), candle(3)], START_MS + 4 * MINUTE_MS)
    assert one.items(Hole) == [Hole(START_MS + MINUTE_MS, 2, False)]
    assert one.items(Candle) == [candle(0), candle(3)]


def test_the_exchanges_own_bar_corrects_what_was_published() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 10, 101.0))
    one.go(61_000)
    one.trades(trade(3, 59_999, 104.0, 2.0))  # late
    one.go(63_000)
    true = Candle(START_MS, 101.0, 104.0, 101.0, 104.0, 3.0)
    one.feed.check_bars([true], START_MS + MINUTE_MS)
    (correction,) = one.items(Correction)
    assert (correction.event_ms, correction.candle[:7]) == (START_MS + 63_000, true[:7])
    assert correction.candle[7:10] == (3.0, 2.0, 0.02)  # the late trade is among what was seen
    health = one.feed.health()
    assert (health.corrections, health.missed) == (1, 0)
    assert one.feed.unchecked_ms is None
    one.go(122_000)
    assert one.items(Candle)[-1] == Candle(START_MS + MINUTE_MS, *[104.0] * 4, 0.0, True)


def test_a_bar_with_more_than_all_trades_that_came_is_counted_as_missed() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 10, 101.0))
    one.go(63_000)
    one.feed.check_bars([Candle(START_MS, 101.0, 101.0, 101.0, 101.0, 2.0)], START_MS + MINUTE_MS)
    assert one.feed.health().missed == 1
    (correction,) = one.items(Correction)
    assert [math.isnan(value) for value in correction.candle[7:]] == [True, True, False, True]


def test_a_corrected_close_is_handed_on_to_the_empty_minutes_after_it() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 10, 101.0))
    one.go(3 * MINUTE_MS + 1_000)
    one.feed.check_bars([candle(0, 105.0, 1.0)], START_MS + 3 * MINUTE_MS)
    assert [(item.candle.open_ms, item.candle.close) for item in one.items(Correction)] == [
        (START_MS + minute * MINUTE_MS, 105.0) for minute in range(3)
    ]
    assert one.feed.unchecked_ms is None


def test_a_correct_bar_is_not_corrected_for_the_rounding_of_sums() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(*(trade(number, number, 101.0, 0.1) for number in range(2, 12)))
    one.go(63_000)
    one.feed.check_bars([Candle(START_MS, 101.0, 101.0, 101.0, 101.0, 1.0)], START_MS + MINUTE_MS)
    assert one.items(Correction) == []


def test_a_symbol_without_history_begins_with_the_minute_that_is_forming() -> None:
    one = Driven(history=[])
    one.now_ms = 20_000
    one.feed.begin([])
    one.live()
    one.go(70_000)
    assert one.feed.bars_from_ms is not None
    one.feed.add_bars([], START_MS + MINUTE_MS)  # it was never traded
    one.trades(trade(1, 69_000, 7.0))
    one.go(130_000)
    assert bars(one) == [candle(1, 7.0, 1.0)[:7]]
    assert one.items(Hole) == []


# ---------------------------------------------------------------------- holes


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


# ---------------------------------------------------------------------- fresh or stale


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
