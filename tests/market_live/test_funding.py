"""Funding rate and open interest through the real ccxt, from a server that speaks Binance's futures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import AltData
from levibot.clock import wall_ms
from levibot.config_altdata import AltDataConfig, FundingConfig
from levibot.config_market import ExchangeConfig
from levibot.exchange.session import ExchangeSession
from levibot.market.live.funding import FundingWatch
from tests.altdata.providers import Answer, Fault, Provider, serving
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings

HOUR_MS = 3_600_000
INFO, RATE, INTEREST = "/fapi/v1/exchangeInfo", "/fapi/v1/premiumIndex", "/futures/data/openInterestHist"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with running(Settings(dialect="binance")) as spot:
        yield spot


def listed(_request: Any) -> dict[str, Any]:
    steps = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "1000000", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    ]
    market = {
        "symbol": "BTCUSDT",
        "pair": "BTCUSDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "filters": steps,
        "orderTypes": ["LIMIT"],
        "timeInForce": ["GTC"],
    }
    return {"timezone": "UTC", "serverTime": wall_ms(), "symbols": [market]}


def rate(written: str) -> Answer:
    return lambda _request: {
        "symbol": "BTCUSDT",
        "markPrice": "100.0",
        "indexPrice": "100.0",
        "lastFundingRate": written,
        "nextFundingTime": wall_ms() + HOUR_MS,
        "interestRate": "0.0001",
        "time": wall_ms(),
    }


def interest(*amounts: tuple[int, str]) -> Answer:
    """Of so many hours ago each."""
    newest_ms = wall_ms() // HOUR_MS * HOUR_MS
    return lambda _request: [
        {
            "symbol": "BTCUSDT",
            "sumOpenInterest": amount,
            "sumOpenInterestValue": "1",
            "timestamp": newest_ms - ago * HOUR_MS,
        }
        for ago, amount in amounts
    ]


GOOD = {INFO: listed, RATE: rate("0.00012500"), INTEREST: interest((24, "80000.0"), (1, "1"), (0, "90000.0"))}


def play(
    exchange: RunningExchange,
    folder: Path,
    answers: dict[str, Answer],
    until: Callable[[list[AltData], list[Exception]], object],
    *faults: Fault,
    symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT"),
    lacking: list[list[str]] | None = None,
    then: Callable[[ExchangeSession, FundingWatch], Awaitable[None]] | None = None,
) -> tuple[list[AltData], list[Exception], Provider]:
    """What is told and what fails, until a condition holds; the session is closed then."""
    told: list[AltData] = []
    failed: list[Exception] = []

    async def act() -> Provider:
        async with serving(answers) as futures:
            for fault in faults:
                futures.fail(fault)
            place = exchange.connection()
            urls = {
                **place.urls,
                "fapiPublic": f"{futures.url}/fapi/v1",
                "fapiData": f"{futures.url}/futures/data",
            }
            config = ExchangeConfig(id=place.id, urls=urls, requests_per_minute=60_000.0)
            session = ExchangeSession("binance", config, "feed", folder)
            settings = AltDataConfig(repeat_interval=0.5, funding=FundingConfig(enabled=True))
            lacks = [] if lacking is None else lacking
            watch = FundingWatch(session, settings, lambda: symbols, told.append, failed.append, lacks.append)
            await session.open()
            task = asyncio.create_task(watch.run())
            try:
                async with asyncio.timeout(60):
                    while not until(told, failed):
                        await asyncio.sleep(0.01)
                    if then is not None:
                        await then(session, watch)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await session.close()
            return futures

    return told, failed, asyncio.run(act())


def test_what_the_swap_of_a_symbol_tells_is_published_and_repeated(
    exchange: RunningExchange, tmp_path: Path
) -> None:
    lacking: list[list[str]] = []
    told, failed, futures = play(exchange, tmp_path, GOOD, lambda told, _: len(told) > 6, lacking=lacking)
    assert lacking == [["ETH/USDT"]], "told once"
    assert not failed
    values = {(value.asset, value.name): value.value for value in told}
    assert values == {
        ("BTC", "funding_rate"): 0.000125,
        ("BTC", "open_interest"): 90_000.0,
        ("BTC", "open_interest_change"): pytest.approx(0.125),
    }  # no swap of ETH is listed: it is missing
    assert len(set(told)) == 3  # told again as they were, with the time of their fetch
    assert {value.expires_ms - value.fetched_ms for value in told} == {3_600_000}
    assert len([request for request in futures.asked if request.path == RATE]) == 1


def test_spot_markets_that_are_read_again_leave_the_swaps_as_they_are(
    exchange: RunningExchange, tmp_path: Path
) -> None:
    lacking: list[list[str]] = []

    async def read_and_ask(session: ExchangeSession, watch: FundingWatch) -> None:
        await session.read_markets()
        await watch.ask("BTC/USDT")

    _told, failed, futures = play(
        exchange,
        tmp_path,
        GOOD,
        lambda told, _: len(told) >= 3,
        symbols=("BTC/USDT",),
        lacking=lacking,
        then=read_and_ask,
    )
    assert not failed
    assert not lacking
    assert len([request for request in futures.asked if request.path == RATE]) == 2


@pytest.mark.parametrize("written", ["NaN", "inf", "5", "-2", "", "many"])
def test_a_rate_that_cannot_be_is_none_and_the_rest_is_told(
    exchange: RunningExchange, tmp_path: Path, written: str
) -> None:
    answers = {**GOOD, RATE: rate(written)}
    told, failed, _ = play(exchange, tmp_path, answers, lambda _, failed: failed, symbols=("BTC/USDT",))
    assert {value.name for value in told} == {"open_interest", "open_interest_change"}
    assert "funding" in str(failed[0])


def test_without_a_day_of_history_no_change_is_told(exchange: RunningExchange, tmp_path: Path) -> None:
    answers = {**GOOD, INTEREST: interest((1, "80000"), (0, "90000"))}
    told, *_ = play(exchange, tmp_path, answers, lambda told, _: len(told) > 3)
    assert {value.name for value in told} == {"funding_rate", "open_interest"}


def test_futures_that_are_away_fail_alone(exchange: RunningExchange, tmp_path: Path) -> None:
    away = Fault("500", "", 500)
    told, failed, _ = play(exchange, tmp_path, GOOD, lambda _, failed: failed, away)
    assert not told
    assert failed


def test_what_is_of_the_future_is_not_told(exchange: RunningExchange, tmp_path: Path) -> None:
    answers = {**GOOD, INTEREST: interest((24, "80000"), (-48, "90000"))}
    told, failed, _ = play(exchange, tmp_path, answers, lambda _, failed: failed, symbols=("BTC/USDT",))
    assert {value.name for value in told} == {"funding_rate"}
    assert "in the future" in str(failed[0])


def test_one_swap_tells_of_an_asset(exchange: RunningExchange, tmp_path: Path) -> None:
    symbols = ("BTC/USDT", "BTC/USDT:USDT")
    _told, failed, futures = play(exchange, tmp_path, GOOD, lambda told, _: len(told) > 3, symbols=symbols)
    assert not failed
    assert len([request for request in futures.asked if request.path == RATE]) == 1
