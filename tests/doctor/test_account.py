"""The key of a live account, tried by `doctor` at the loopback exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from levibot.config import Config
from levibot.config_execution import CONFIRMATION
from levibot.doctor.account import judge_account
from levibot.doctor.finding import Finding, Patient
from levibot.exchange.session import ExchangeSession
from levibot.locations import KEY_VARIABLES
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import KEY, SECRET, DialectName, Settings, account


def judge(
    exchange: RunningExchange, folder: Path, environ: Mapping[str, str], mode: str = "live"
) -> list[Finding]:
    place = exchange.connection()
    config = Config.model_validate(
        {
            "mode": mode,
            "symbols": ["BTC/USDT"],
            "supervisor": {"data_dir": folder},
            "feed": {"source": "ccxt"},
            "exchange": {"id": place.id, "urls": dict(place.urls), "requests_per_minute": 60_000.0},
            "live": {"confirm": CONFIRMATION},
        }
    )

    async def ask() -> list[Finding]:
        session = ExchangeSession(config.exchange_id, config.exchange, "download", folder)
        try:
            await session.open()
            patient = Patient(config, None, folder, environ)
            return [finding async for finding in judge_account(patient, session)]
        finally:
            await session.close()

    return asyncio.run(ask())


def environment(secret: str) -> dict[str, str]:
    return dict(zip(KEY_VARIABLES, (KEY, secret), strict=False))


@pytest.mark.parametrize("dialect", ["binance", "mexc"])
def test_a_key_is_tried_and_what_is_wrong_with_it_told(dialect: DialectName, tmp_path: Path) -> None:
    with running(Settings(dialect=dialect, accounts=[account(dialect)], symbols=("BTC/USDT",))) as exchange:
        good, *advice = judge(exchange, tmp_path, environment(SECRET))
        assert (good.check, good.level) == ("account", "ok")
        assert f"{dialect} accepts key " in good.found
        told = {"mexc": ["make sure there that this one cannot withdraw"]}.get(dialect, [])
        assert [finding.level for finding in advice] == ["warn"] * len(told)
        assert all(words in finding.found for words, finding in zip(told, advice, strict=True))
        (refused,) = judge(exchange, tmp_path, environment(SECRET[::-1]))
        assert refused.level == "fail"
        assert f"{dialect} does not accept key " in refused.found
        (untried,) = judge(exchange, tmp_path, {})
        assert untried.level == "warn"
        assert "needs LEVIBOT_API_KEY and LEVIBOT_API_SECRET" in untried.found
        assert judge(exchange, tmp_path, {}, mode="paper") == []
    shown = str([good, *advice, refused, untried])
    assert not any(text in shown for text in (KEY, SECRET, SECRET[::-1]))
