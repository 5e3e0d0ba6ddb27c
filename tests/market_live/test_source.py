"""A live source against a loopback exchange: silence that is right, silence that is not, and what was missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.errors import ExchangeRefusedError, ExchangeUnavailableError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.live import backoff, market_watch
from levibot.market.live import source as source_module
from levibot.market.live.source import LiveSource
from levibot.market.path import Item, NewSpec, Quote, Recovered, Stale, TradeBatch
from levibot.market.source import Step
from levibot.market.states import HALTED, LIVE
from tests.exchange.settings import DialectName
from tests.market_live.conftest import OTHER, SECONDS, SYMBOL, Place, serving, until

PATIENCE_S = 6.0  # without prices, where a test is not about that


@pytest.fixture(params=["binance", pytest.param("mexc", marks=pytest.mark.long)])
def dialect(request: pytest.FixtureRequest) -> DialectName:
    """Both, but in the short run, where what this file shows does not depend on it."""
    name: DialectName = request.param
    return name


class Stage:
    """A source, and all that it has published and told."""

    def __init__(self, place: Place, **feed: Any) -> None:
        connection = place.exchange.connection()
        exchange = ExchangeConfig(id=connection.id, urls=dict(connection.urls), requests_per_minute=60_000.0)
        config = FeedConfig.model_validate({"source": "ccxt", "history_bars": 100, "stale_after": 2.0, **feed})
        self.place = place
        self.items: list[tuple[str, Item]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.source = LiveSource(place.dialect, exchange, config, place.state_dir, self._tell)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.told.append((event, fields))

    def _publish(self, symbol: str, event_ms: int, item: Item) -> Step | None:
        self.items.append((symbol, item))
        return None

    def of(self, kind: type[Any], symbol: str = SYMBOL) -> list[Any]:
        return [item for name, item in self.items if name == symbol and isinstance(item, kind)]

    @property
    def probes(self) -> int:
        report = self.source.report()
        return report.probes if report is not None else 0

    @property
    def trouble(self) -> str:
        report = self.source.report()
        return report.trouble if report is not None else ""

    @property
    def cool_down_s(self) -> float:
        report = self.source.report()
        return report.cool_down_s if report is not None else 0.0

    @property
    def skew_ms(self) -> int:
        report = self.source.report()
        return (report.skew_ms or 0) if report is not None else 0

    async def begin(self, *symbols: str) -> None:
        for symbol in symbols:
            self.source.begin(symbol, await self.source.open(symbol))
        await until(lambda: all(self.source.feeds[symbol].state == LIVE for symbol in symbols), "all to be live")

    def play(self, scenario: Callable[[Stage], Awaitable[None]]) -> None:
        """Run a scenario while the source runs; nothing of it may be left."""

        async def act() -> None:
            running = asyncio.create_task(self.source.run(self._publish))
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(SECONDS):
                    await scenario(self)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await self.source.stop()
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, left

        asyncio.run(act())


@pytest.fixture
def stage(place: Place) -> Stage:
    return Stage(place)


@pytest.fixture
def patient(place: Place) -> Stage:
    """One that a slow machine does not make stale."""
    return Stage(place, stale_after=PATIENCE_S)


def test_history_then_everything_that_the_exchange_does(patient: Stage) -> None:
    stage = patient

    async def scenario(stage: Stage) -> None:
        market = await stage.source.open(SYMBOL)
        assert len(market.history) == 100
        opened = [bar.open_ms for bar in market.history]
        assert opened == list(range(opened[0], opened[0] + 100 * MINUTE_MS, MINUTE_MS))
        await stage.begin(SYMBOL)
        await until(lambda: len(stage.of(TradeBatch)) > 20, "trades")

    stage.play(scenario)
    report = stage.source.report()
    assert report is not None
    assert report.markets[SYMBOL].trades == sum(len(batch.trades) for batch in stage.of(TradeBatch))
    assert report.parse_buckets[-1] > 0
    assert not stage.of(Stale)
    assert all(quote.bid < quote.ask and quote.received_ns for quote in stage.of(Quote))


@pytest.mark.parametrize("what", ["trades", "book", "quote"])
def test_a_stream_that_is_dead_on_a_living_connection_is_found_and_renewed(stage: Stage, what: str) -> None:
    if what == "quote" and stage.place.dialect == "mexc":
        pytest.skip("the book carries the quotes of MEXC")

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        stage.place.exchange.arm("silent", f"STREAM {stage.place.stream(what)}", symbol=SYMBOL, only_open=True)
        await until(lambda: stage.source.feeds[SYMBOL].health().renewals > 0, "the streams to be renewed")
        await until(lambda: stage.source.feeds[SYMBOL].state == LIVE, "recovery")
        assert stage.source.feeds[OTHER].health().renewals == 0
        trades = len(stage.of(TradeBatch))
        await until(lambda: len(stage.of(TradeBatch)) > trades + 5, "trades")

    stage.play(scenario)
    assert not stage.of(Stale, OTHER)
    kinds = [type(item) for item in stage.of(Stale | Recovered)]  # type: ignore[arg-type]
    assert kinds == [Stale, Recovered] * (len(kinds) // 2)
    _assert_whole(stage)


def test_a_quiet_market_is_asked_about_and_stays_live(dialect: DialectName, tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        probes, quotes = stage.probes, len(stage.of(Quote))
        await until(lambda: stage.probes > probes + 2, "probes")
        assert len(stage.of(Quote)) > quotes  # told again, so that it does not age

    with serving(tmp_path, dialect=dialect, symbols=(SYMBOL, OTHER), quiet=(SYMBOL,)) as place:
        stage = Stage(place, stale_after=PATIENCE_S)
        stage.play(scenario)
    assert not stage.of(Stale)


def test_a_clock_that_was_measured_wrong_is_noticed_by_the_times_that_frames_carry(stage: Stage) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        stage.source._session._clock._offset_ms += 5_000
        assert stage.skew_ms < -4_000
        await until(lambda: abs(stage.skew_ms) < 1_000, "the clocks to be compared")

    stage.play(scenario)


def test_a_halted_market_is_told_when_the_markets_are_read_again(stage: Stage) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        stage.place.exchange.arm("halted", symbol=SYMBOL)
        await stage.source._session.read_markets()
        await until(lambda: stage.of(NewSpec), "the new rules")

    stage.play(scenario)
    assert [item.spec.active for item in stage.of(NewSpec)] == [False]


@pytest.mark.parametrize("fault", ["halted", "delisted"])
def test_a_market_that_trades_no_more_is_noticed_asked_about_seldom_and_comes_back_by_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(market_watch, "FROZEN_S", 1.0)
    monkeypatch.setattr(market_watch, "LEAST_S", 0.5)
    monkeypatch.setattr(market_watch, "_GONE_S", 1.0)

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        feeds, exchange = stage.source.feeds, stage.place.exchange
        exchange.arm(fault, symbol=SYMBOL)
        await until(lambda: feeds[SYMBOL].word == HALTED, "the halt to be noticed")
        assert feeds[OTHER].word == LIVE
        asked = len(exchange.log.asked("GET *"))
        await asyncio.sleep(3.0)
        assert len(exchange.log.asked("GET *")) - asked < 20
        exchange.clear()
        await until(lambda: feeds[SYMBOL].word == LIVE, "its return")
        quotes = len(stage.of(Quote))
        await until(lambda: len(stage.of(Quote)) > quotes + 5, "quotes")

    stage.play(scenario)
    assert [item.spec.active for item in stage.of(NewSpec)] == [False, True]
    assert not stage.of(Stale, OTHER)


def test_a_market_that_was_listed_since_the_start_can_be_opened(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.place.exchange.arm("delisted", symbol=SYMBOL)
        await stage.begin(OTHER)
        stage.place.exchange.clear()
        with pytest.raises(ExchangeRefusedError, match=f"has no market {SYMBOL}"):
            await stage.source.open(SYMBOL)  # the markets were read just now
        monkeypatch.setattr(market_watch, "LEAST_S", 0.0)
        await stage.begin(SYMBOL)

    stage.play(scenario)
    assert stage.of(Quote)


def test_an_exchange_that_is_not_there_yet_is_tried_again_and_one_symbol_that_is_none_is_refused(
    stage: Stage,
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.place.exchange.arm("status", "GET *", status=503, times=3)
        with pytest.raises(ExchangeUnavailableError):
            await stage.source.open(SYMBOL)
        stage.place.exchange.clear()
        await stage.begin(SYMBOL)
        with pytest.raises(ExchangeRefusedError, match="has no market NONE/USDT"):
            await stage.source.open("NONE/USDT")

    stage.play(scenario)
    assert stage.of(Quote)


def test_requests_that_are_refused_for_a_while_stop_no_stream(patient: Stage) -> None:
    stage = patient

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        stage.place.exchange.arm("status", "GET *", status=429, retry_after=30)
        with pytest.raises(Exception, match="429"):
            await stage.source.open(OTHER)
        quotes = len(stage.of(Quote))
        await until(lambda: len(stage.of(Quote)) > quotes + 30, "quotes all the same")

    stage.play(scenario)
    report = stage.source.report()
    assert report is not None
    assert report.cool_down_s > 20
    assert not stage.of(Stale)


def test_a_symbol_that_is_closed_is_heard_of_no_more(stage: Stage) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        stage.source.close(SYMBOL)
        count, others = len(stage.of(Item)), len(stage.of(Quote, OTHER))  # type: ignore[arg-type]
        await until(lambda: len(stage.of(Quote, OTHER)) > others + 10, "quotes of the other")
        assert len(stage.of(Item)) == count  # type: ignore[arg-type]

    stage.play(scenario)
    assert set(stage.source.feeds) == {OTHER}


def test_after_a_standstill_every_connection_is_begun_anew_before_a_bar_is_closed(
    patient: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = patient
    monkeypatch.setattr(source_module, "_STANDSTILL_NS", 1_500_000_000)

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        time.sleep(2.0)  # as a machine that is suspended does
        await until(lambda: stage.of(Stale), "distrust")
        await until(lambda: all(feed.state == LIVE for feed in stage.source.feeds.values()), "recovery")
        trades = len(stage.of(TradeBatch))
        await until(lambda: len(stage.of(TradeBatch)) > trades + 5, "trades")
        # it is live from its first quote on, whatever is still to be read
        await until(lambda: not stage.source.feeds[SYMBOL].wants_trades, "what was missed")

    stage.play(scenario)
    assert "stood still" in stage.of(Stale)[0].reason
    _assert_whole(stage)


def test_an_exchange_that_is_back_is_dialled_at_once_and_its_absence_is_told_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)
        await until(lambda: len(stage.of(TradeBatch)) > 20, "trades")
        monkeypatch.setattr(backoff, "FIRST_S", 120.0)
        monkeypatch.setattr(backoff, "LONGEST_S", 120.0)
        stage.place.exchange.arm("refuse")
        stage.place.exchange.drop_connections()
        await until(lambda: stage.trouble, "the trouble to be told")
        assert "connection refused by 127.0.0.1" in stage.trouble
        await asyncio.sleep(2.0)
        stage.place.exchange.clear()
        await until(lambda: all(feed.state == LIVE for feed in stage.source.feeds.values()), "recovery")
        assert not stage.trouble

    stage.play(scenario)
    told = [event for event, _ in stage.told]
    assert [told.count(event) for event in ("exchange_lost", "exchange_answers", "line_lost")] == [1, 1, 1]
    assert "stream_contradicted" not in told
    # What was asked before the absence was known may have said so, once.
    assert all(told.count(event) <= 1 for event in ("probe_failed", "recovery_waits"))
    _assert_whole(stage)


def test_a_market_is_stale_for_the_reason_that_the_newest_dial_gives(stage: Stage) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        stage.place.exchange.arm("refuse")
        stage.place.exchange.drop_connections()
        await until(lambda: "connection refused by 127.0.0.1" in stage.source.feeds[SYMBOL].state, "the refusal")
        stage.place.exchange.clear()
        await until(lambda: stage.source.feeds[SYMBOL].state == LIVE, "recovery")

    stage.play(scenario)
    assert len(stage.of(Stale)) == 1


def test_nothing_is_asked_during_a_cool_down(stage: Stage) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        exchange = stage.place.exchange
        exchange.arm("status", "GET *", status=429, retry_after=30)
        exchange.drop_connections()
        await until(lambda: stage.cool_down_s > 0, "the cool-down")
        asked = len(exchange.log.asked("GET *"))
        await asyncio.sleep(3.0)
        assert len(exchange.log.asked("GET *")) == asked

    stage.play(scenario)
    told = [event for event, _ in stage.told]
    assert max(told.count(event) for event in ("probe_failed", "recovery_waits")) <= 1


def test_a_mistake_with_one_symbol_makes_it_stale_and_leaves_the_others_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL, OTHER)

        def clumsy() -> None:
            raise ValueError("a mistake")

        monkeypatch.setattr(stage.source.feeds[SYMBOL], "turn", clumsy)
        await until(lambda: stage.of(Stale), "it to be stale")
        quotes = len(stage.of(Quote, OTHER))
        await until(lambda: len(stage.of(Quote, OTHER)) > quotes + 10, "quotes of the other")

    stage.play(scenario)
    assert not stage.of(Stale, OTHER)
    assert "symbol_failed" in [event for event, _ in stage.told]


def _assert_whole(stage: Stage) -> None:
    """Every trade since the first is published once, and bars follow each other."""
    ids = [trade.trade_id for batch in stage.of(TradeBatch) for trade in batch.trades]
    if all(ids):
        assert len(ids) == len(set(ids))
        truth = [str(trade.id) for trade in stage.place.exchange.journal.trades[SYMBOL]]
        first = min(truth.index(one) for one in ids)  # what was read later may be older than what came first
        assert set(ids) == set(truth[first : first + len(ids)])
    bars = [bar.open_ms for bar in stage.of(Candle)]
    assert bars == sorted(set(bars))
