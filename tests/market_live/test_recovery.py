"""Bringing what is missing: again and again, but not without a pause."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from levibot.config_market import ExchangeConfig
from levibot.errors import ExchangeRefusedError
from levibot.exchange.session import ExchangeSession
from levibot.exchange.validation import PublicTrade
from levibot.market.live import recovery as recovery_module
from levibot.market.live.pauses import Refusals
from levibot.market.live.recovery import Recovery
from tests.market_live.conftest import until
from tests.market_live.driven import Driven, trade


def test_answers_that_are_of_no_use_are_not_asked_for_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Driven()
    asked: list[int] = []
    failed: list[Exception] = []
    one.live(trade(1, -500))
    one.trades(trade(2, 100))
    one.feed.on_lost("a test")
    one.feed.on_restored()

    async def behind(*_: Any) -> list[PublicTrade]:
        asked.append(1)
        return [trade(1, -500)]

    async def scenario() -> None:
        session = ExchangeSession("binance", ExchangeConfig(), "feed", tmp_path)
        recovery = Recovery(session, "BTC/USDT", one.feed, Refusals(), failed.append)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await recovery.run()

    monkeypatch.setattr(recovery_module, "recent_trades", behind)
    monkeypatch.setattr(recovery_module, "boot_ns", one.now_ns)
    asyncio.run(scenario())
    assert one.feed.wants_trades
    assert 1 <= len(asked) <= 4
    assert not failed


def test_a_symbol_that_was_refused_once_is_known_again_when_an_answer_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, refusals = Driven(), Refusals()
    one.live(trade(1, -500))
    one.feed.on_lost("a test")
    one.feed.on_restored()
    answers: list[Exception | list[PublicTrade]] = [
        ExchangeRefusedError("symbol", "no such symbol"),
        [trade(1, -500), trade(2, 500)],
    ]

    async def answer(*_: Any) -> list[PublicTrade]:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario() -> None:
        session = ExchangeSession("binance", ExchangeConfig(), "feed", tmp_path)
        recovery = Recovery(session, "BTC/USDT", one.feed, refusals, lambda error: None)
        task = asyncio.create_task(recovery.run())
        await until(lambda: "BTC/USDT" in refusals, "the refusal")
        one.now_ms += 2_000
        await until(lambda: not one.feed.wants_trades, "the answer")
        assert "BTC/USDT" not in refusals
        task.cancel()

    monkeypatch.setattr(recovery_module, "recent_trades", answer)
    monkeypatch.setattr(recovery_module, "boot_ns", one.now_ns)
    asyncio.run(scenario())
