"""One live symbol: bars in order, of its own trades or the exchange's, and corrected by these."""

from __future__ import annotations

import math

import pytest

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole
from levibot.market.path import Correction, Quote
from tests.market_live.driven import START_MS, WITHOUT_IDS, Driven, bars, candle, trade


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
    assert one.feed.unchecked_ms == START_MS, "it was read just after its end"
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
    assert one.feed.unchecked_ms == START_MS + 2 * MINUTE_MS, "the newest may only be late"


def test_a_bar_that_the_exchange_tells_late_corrects_the_empty_one() -> None:
    one = Driven(quirks=WITHOUT_IDS)
    one.live(trade(1, -500))
    one.go(63_000)
    one.feed.check_bars([], START_MS + MINUTE_MS)
    assert one.feed.unchecked_ms == START_MS, "it may only be late"
    one.go(2 * MINUTE_MS + 3_000)
    one.feed.check_bars([candle(0, 105.0, 1.0)], START_MS + 2 * MINUTE_MS)
    assert [item.candle.close for item in one.items(Correction)] == [105.0, 105.0]
    one.go(3 * MINUTE_MS + 3_000)
    one.feed.check_bars([], START_MS + 3 * MINUTE_MS)
    assert one.feed.unchecked_ms == START_MS + 2 * MINUTE_MS, "of older ones it is known"


def test_a_bar_that_was_read_just_after_its_end_is_compared_once_more() -> None:
    one = Driven()
    one.go(2 * MINUTE_MS + 3_000)
    one.live()
    one.feed.add_bars([candle(0, 104.0), candle(1, 105.0, 1.0)], START_MS + 2 * MINUTE_MS)
    assert one.feed.unchecked_ms == START_MS + MINUTE_MS
    one.feed.check_bars([candle(1, 106.0, 2.0)], START_MS + 2 * MINUTE_MS)
    assert [item.candle.close for item in one.items(Correction)] == [106.0]
    assert one.feed.unchecked_ms is None
    assert one.feed.health().missed == 0


def test_a_trade_that_comes_after_its_bar_was_compared_has_it_compared_again() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 10, 101.0))
    one.go(63_000)
    one.feed.check_bars([candle(0, 101.0, 1.0)], START_MS + MINUTE_MS)
    assert one.feed.unchecked_ms is None
    one.trades(trade(3, 59_999, 104.0, 2.0))  # the exchange had not dealt with it yet
    assert one.feed.unchecked_ms == START_MS
    one.go(2 * MINUTE_MS + 3_000)
    true = Candle(START_MS, 101.0, 104.0, 101.0, 104.0, 3.0)
    one.feed.check_bars([true, candle(1, 104.0, 0.0)], START_MS + 2 * MINUTE_MS)
    assert [item.candle[:6] for item in one.items(Correction)] == [true[:6], candle(1, 104.0, 0.0)[:6]]
    assert one.feed.unchecked_ms is None


def test_a_bar_of_the_exchange_that_lacks_trades_which_it_told_is_no_correction_before_it_is_settled() -> None:
    one = Driven()
    one.live(trade(1, -500))
    one.trades(trade(2, 10, 101.0, 2.0), trade(3, 20, 103.0, 2.0))
    one.go(63_000)
    one.feed.check_bars([candle(0, 101.0, 2.0)], START_MS + MINUTE_MS)
    assert one.items(Correction) == []
    assert one.feed.unchecked_ms == START_MS
    one.go(2 * MINUTE_MS + 3_000)
    one.feed.check_bars([candle(0, 101.0, 2.0)], START_MS + 2 * MINUTE_MS)
    assert one.items(Correction)[0].candle[:6] == candle(0, 101.0, 2.0)[:6], "it counts other trades than it tells"


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
