"""Bars by pages: those of the exchange, each once, in order, and never one that is forming."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from levibot.errors import ExchangeRefusedError, MalformedAnswerError
from levibot.exchange.candles import candle_pages, closed_until_ms, fetch_candles, first_day_ms
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS, Candle
from tests.exchange.running import running
from tests.exchange.settings import Settings
from tests.exchange_adapter.conftest import KLINES, SYMBOL, House
from tests.market.real_data import real_data

DAY_MS = 1440 * MINUTE_MS


def truth(house: House, from_ms: int, until_ms: int) -> list[Candle]:
    def read(exchange: Any) -> list[Candle]:
        bars = exchange.market.symbols[SYMBOL].all_bars(from_ms, until_ms - 1)
        return [
            Candle(bar.open_ms, *(float(v) for v in (bar.open, bar.high, bar.low, bar.close, bar.volume)))
            for bar in bars
        ]

    return house.exchange.run(read)


def test_fifteen_hundred_bars_are_all_there_once_and_in_order(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        from_ms = until_ms - 1500 * MINUTE_MS
        found = await fetch_candles(session, SYMBOL, from_ms, until_ms)
        assert [bar.open_ms for bar in found] == list(range(from_ms, until_ms, MINUTE_MS))
        assert found == truth(house, from_ms, until_ms)

    house.play(scenario)


def test_the_forming_bar_is_never_among_them(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        now_ms = session.exchange_ms()
        until_ms = closed_until_ms(now_ms)
        assert now_ms - MINUTE_MS - 2_000 < until_ms <= now_ms - 2_000
        found = await fetch_candles(session, SYMBOL, until_ms - 3 * MINUTE_MS, until_ms)
        assert found[-1].close_ms == until_ms

    house.play(scenario)


def test_a_page_that_fails_is_asked_for_again(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        from_ms = until_ms - 1500 * MINUTE_MS
        for kind in ("html", "truncated", "null_rows", "reset"):
            fault = house.exchange.arm(kind, KLINES, skip=1, times=2)
            assert await fetch_candles(session, SYMBOL, from_ms, until_ms) == truth(house, from_ms, until_ms)
            assert fault.struck == 2
            house.exchange.clear()

    house.play(scenario)


def test_pages_that_contradict_each_other_are_refused(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        pages = candle_pages(session, SYMBOL, until_ms - 1500 * MINUTE_MS, until_ms)
        first = await anext(pages)
        state = house.exchange.exchange.market.symbols[SYMBOL]
        known = next(bar for bar in state.bars if bar.open_ms == first[-1].open_ms)
        high = known.high
        known.high *= 2
        try:
            with pytest.raises(MalformedAnswerError, match="the page begins with"):
                await anext(pages)
        finally:
            known.high = high

    house.play(scenario)


def test_a_server_with_shorter_pages_than_expected_loses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        from_ms = until_ms - 700 * MINUTE_MS
        found = await fetch_candles(session, SYMBOL, from_ms, until_ms)
        assert found == truth(house, from_ms, until_ms)

    monkeypatch.setattr(house.exchange.exchange.dialect, "page", 120)
    house.play(scenario)


def test_an_unknown_symbol_is_refused(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        until_ms = closed_until_ms(session.exchange_ms())
        with pytest.raises(ExchangeRefusedError):
            await fetch_candles(session, "NO/PE", until_ms - MINUTE_MS, until_ms)

    house.play(scenario)


def test_the_first_day_is_found_without_paging_through_years_of_nothing(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        now_ms = session.exchange_ms()
        state = house.exchange.exchange.market.symbols[SYMBOL]
        listed_ms = state.bars[0].open_ms // DAY_MS * DAY_MS
        asked = house.asked(KLINES)
        assert await first_day_ms(session, SYMBOL, now_ms - 2000 * DAY_MS, now_ms) == listed_ms
        assert house.asked(KLINES) - asked <= 5
        assert await first_day_ms(session, SYMBOL, now_ms - 50 * DAY_MS, now_ms - 30 * DAY_MS) is None

    house.play(scenario)


@pytest.fixture(params=["binance", "mexc"])
def outage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    folder = real_data("candles", "binance-spot-2023-03")
    settings = Settings(dialect=request.param, symbols=(SYMBOL,), replay=folder, history=100_000, speed=0.001)
    with running(settings) as exchange:
        yield House(exchange, tmp_path / "state")


def test_bars_around_a_real_outage_are_those_that_exist(outage: House) -> None:
    bars = outage.exchange.exchange.market.symbols[SYMBOL].bars
    from_ms, until_ms = bars[0].open_ms, bars[-1].open_ms

    async def scenario(session: ExchangeSession) -> list[Candle]:
        return await fetch_candles(session, SYMBOL, from_ms, until_ms)

    found = outage.play(scenario)
    assert found == truth(outage, from_ms, until_ms)
    steps = [b.open_ms - a.open_ms for a, b in pairwise(found)]
    assert [step for step in steps if step != MINUTE_MS] == [81 * MINUTE_MS]
