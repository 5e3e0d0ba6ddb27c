"""Questions about silence: no more than are of use, and none that would be asked for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from levibot.errors import BudgetError, ExchangeUnavailableError
from levibot.exchange.budget import Allowance, Budget
from levibot.exchange.cooldown import CoolDown
from levibot.exchange.reach import Reach
from levibot.market.live import probes as probes_module
from levibot.market.live.pauses import Refusals
from levibot.market.live.probes import Disputes, Prober
from levibot.market.path import Stale
from levibot.market.states import LIVE
from tests.market_live.conftest import SYMBOL, serving, until
from tests.market_live.driven import Driven, trade
from tests.market_live.test_source import Stage


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Stage]:
    with serving(tmp_path, dialect="binance", symbols=(SYMBOL,), quiet=(SYMBOL,)) as place:
        yield Stage(place)


class Prices:
    """What the exchange answers."""

    def __init__(self, told: dict[str, tuple[float, float]]) -> None:
        self.told = told
        self.asked = 0

    async def __call__(self, session: Any, symbols: Sequence[str]) -> dict[str, tuple[float, float]]:
        self.asked += 1
        return self.told


def test_a_market_without_prices_is_not_asked_about_without_a_pause(
    quiet: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = Prices({})
    monkeypatch.setattr(probes_module, "best_prices", prices)

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        await until(lambda: prices.asked, "a question")
        before = prices.asked
        await asyncio.sleep(3)
        assert prices.asked - before <= 6  # asked at half of 2 s, and then twice as often

    quiet.play(scenario)


def test_where_requests_and_streams_never_agree_on_prices_a_quiet_market_is_renewed_once(
    quiet: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = Prices({SYMBOL: (1.0, 2.0)})
    monkeypatch.setattr(probes_module, "best_prices", prices)

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        feed = stage.source.feeds[SYMBOL]
        await until(lambda: feed.renewals == 1, "the renewal")
        await until(lambda: feed.state == LIVE, "it to be live")
        asked = prices.asked
        await until(lambda: prices.asked >= asked + 4, "more questions")
        assert feed.state == LIVE
        assert feed.renewals == 1

    quiet.play(scenario)
    assert len(quiet.of(Stale)) == 1


def test_a_dispute_is_settled_only_by_a_renewal_that_changed_nothing() -> None:
    disputes, second = Disputes(), 1_000_000_000
    assert not disputes.is_settled(SYMBOL, "volume", (0, 5.0), 0, 0)
    assert not disputes.is_settled(SYMBOL, "volume", (0, 5.0), 0, second)  # not begun anew yet
    assert disputes.is_settled(SYMBOL, "volume", (0, 5.0), 1, 2 * second)
    assert disputes.is_settled(SYMBOL, "volume", (0, 5.0), 1, 4 * second)
    assert not disputes.is_settled(SYMBOL, "volume", (0, 6.0), 1, 5 * second)  # another one
    assert not disputes.is_settled(SYMBOL, "volume", (0, 6.0), 2, 100 * second)  # of long ago
    assert disputes.is_settled(SYMBOL, "volume", (0, 6.0), 3, 101 * second)
    disputes.end(SYMBOL, "volume")
    assert not disputes.is_settled(SYMBOL, "volume", (0, 6.0), 4, 102 * second)


@pytest.mark.parametrize("is_used_up", [True, False])
def test_who_waits_for_its_turn_does_not_call_the_exchange_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_used_up: bool
) -> None:
    one, reach, failed = Driven(), Reach(), list[Exception]()
    one.live(trade(1, -500))
    one.now_ms = 5_000
    budget = Budget(Allowance(24.0, 0.0), CoolDown(tmp_path / "cooldown.json"), now_ns=lambda: 0)
    session: Any = SimpleNamespace(may_ask=True, budget=budget, reach=reach, exchange_ms=one.exchange_ms)

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    def fail(error: Exception) -> None:
        failed.append(error)
        one.now_ms += 5_000

    async def scenario() -> None:
        if is_used_up:
            await budget.take(4.0, "data")
        prober = Prober(session, {SYMBOL: one.feed}, 2_000_000_000, Refusals(), lambda *_, **__: None, fail)
        asking = asyncio.create_task(prober.run())
        await until(lambda: len(failed) >= 3, "three probes in vain")
        asking.cancel()

    for name, value in (
        ("best_prices", never),
        ("newest_bars", never),
        ("boot_ns", one.now_ns),
        ("_ANSWER_S", 0.02),
        ("_LOOK_S", 0.01),
    ):
        monkeypatch.setattr(probes_module, name, value)
    asyncio.run(scenario())
    assert reach.is_lost is not is_used_up
    assert {type(error) for error in failed} == {BudgetError if is_used_up else ExchangeUnavailableError}


def test_nothing_is_asked_about_streams_that_are_lost(quiet: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = Prices({})
    monkeypatch.setattr(probes_module, "best_prices", prices)

    async def scenario(stage: Stage) -> None:
        await stage.begin(SYMBOL)
        await until(lambda: prices.asked, "a question")
        stage.source.feeds[SYMBOL].on_lost("a test")
        asked = prices.asked
        await asyncio.sleep(2.5)
        assert prices.asked == asked

    quiet.play(scenario)
