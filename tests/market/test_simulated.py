"""The simulated exchange is the same for the same seed, can be entered anywhere, and holds what it discloses."""

from __future__ import annotations

import math
from itertools import islice, pairwise
from statistics import correlation, fmean

from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.recording import Opening
from levibot.market.simulated import (
    DISCLOSURE,
    LEAD_MINUTES,
    ORIGIN_MS,
    SimulatedMarket,
    SimulatedRecording,
)
from levibot.market.specs import decimals_of, decimals_of_tick

FIRST = ORIGIN_MS // MINUTE_MS


def bars(symbol: str, count: int, first: int = FIRST, seed: int = 7) -> list[Candle]:
    return list(islice(SimulatedMarket(seed, symbol).candles(first), count))


@settings(max_examples=25)
@given(st.integers(0, 2000), st.sampled_from(["BTC/USDT", "DOGE/USDT", "NEVERHEARD/XYZ", "ETH/USDT:USDT"]))
def test_any_minute_can_be_entered_and_follows_the_one_before(offset: int, symbol: str) -> None:
    entered = bars(symbol, 300, FIRST + offset)
    assert entered[0].open_ms == (FIRST + offset) * MINUTE_MS
    assert entered == bars(symbol, 300 + offset)[offset:]
    for before, after in pairwise(entered):
        assert after.open_ms == before.close_ms
        assert after.open == before.close
        assert 0 < after.low <= min(after.open, after.close) <= max(after.open, after.close) <= after.high


def test_seed_and_symbol_make_different_markets() -> None:
    assert bars("BTC/USDT", 10) != bars("BTC/USDT", 10, seed=8)
    assert [bar.close for bar in bars("AAA/USDT", 10)] != [bar.close for bar in bars("BBB/USDT", 10)]


def test_prices_lie_on_the_grid_that_the_market_states() -> None:
    for symbol in ("BTC/USDT", "DOGE/USDT", "NEVERHEARD/XYZ"):
        spec = SimulatedMarket(7, symbol).spec
        closes = [bar.close for bar in bars(symbol, 500)]
        assert decimals_of(closes) <= decimals_of_tick(spec)


def test_the_disclosed_cycle_pays_an_average_cross_before_costs_and_makes_it_trade() -> None:
    crosses, returns = 0, []
    hours = 48
    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT"):
        series = bars(symbol, hours * 60 + 30)
        entered, above = 0.0, None
        for index in range(30, len(series) - 1):
            fast = fmean(bar.close for bar in series[index - 9 : index + 1])
            now_above = fast > fmean(bar.close for bar in series[index - 29 : index + 1])
            if above is not None and now_above != above:
                crosses += 1
                price = series[index + 1].open
                if now_above:
                    entered = price
                elif entered:
                    returns.append(math.log(price / entered))
            above = now_above
    assert crosses / hours > 8  # of five symbols together
    assert fmean(returns) > 0.002


def test_volume_leads_the_move_by_the_disclosed_minutes() -> None:
    market = SimulatedMarket(7, "BTC/USDT")
    series = list(islice(market.candles(FIRST), 2000))
    volume = [bar.volume for bar in series]

    def speed_after(lead: int) -> list[float]:
        return [
            abs(market.cycle(FIRST + index + lead + 1) - market.cycle(FIRST + index + lead))
            for index in range(2000)
        ]

    leads = {lead: correlation(volume, speed_after(lead)) for lead in range(12)}
    assert max(leads, key=leads.__getitem__) == LEAD_MINUTES
    assert leads[LEAD_MINUTES] > 0.8


def test_the_operator_is_told_that_nothing_is_real() -> None:
    assert SimulatedRecording(7).disclosure == DISCLOSURE
    assert DISCLOSURE.startswith("SIMULATED")
    assert "\n" not in DISCLOSURE


def test_an_opened_market_has_its_history_and_goes_on_after_it() -> None:
    market = SimulatedRecording(7).open("BTC/USDT", Opening(ORIGIN_MS, 1500, 120, 15_000.0))
    assert len(market.history) == 1500
    assert market.history[-1].close_ms == ORIGIN_MS
    first_bar = next(item for _, item in market.stream if isinstance(item, Candle))
    assert first_bar.open_ms == ORIGIN_MS
