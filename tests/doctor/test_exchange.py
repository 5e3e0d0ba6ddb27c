"""The check of a live exchange, asked in both dialects, and one that is not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.config import Config
from levibot.doctor.exchange import check_exchange
from levibot.doctor.finding import Finding, Patient
from levibot.exchange.cooldown import FILE, CoolDown
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings

Asked = Callable[..., dict[str, Finding]]


@pytest.fixture(scope="module", params=["binance", "mexc"])
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with running(Settings(dialect=request.param)) as exchange:
        yield exchange


@pytest.fixture
def ask(run_dir: Path) -> Asked:
    def findings(exchange: dict[str, Any], **settings: Any) -> dict[str, Finding]:
        sections = {"supervisor": {"data_dir": run_dir / "var"}, "feed": {"source": "ccxt"}, "exchange": exchange}
        config = Config.model_validate({**sections, **settings})
        found = {one.check: one for one in check_exchange(Patient(config, None, run_dir, {}))}
        assert not (run_dir / "var").exists(), "nothing may be left behind"
        for finding in found.values():
            assert bool(finding.remedy) == (finding.level != "ok")
        return found

    return findings


def reach(exchange: RunningExchange, **settings: Any) -> dict[str, Any]:
    place = exchange.connection()
    return {"id": place.id, "urls": dict(place.urls), "options": dict(place.options), **settings}


def test_all_is_well(exchange: RunningExchange, ask: Asked) -> None:
    found = ask(reach(exchange), symbols=["BTC/USDT", "ETH/USDT"])
    assert {name: finding.level for name, finding in found.items()} == dict.fromkeys(
        ("exchange", "exchange clock", "symbols", "rate limit"), "ok"
    )
    assert found["symbols"].found == f"all 2 are traded on {exchange.dialect}"


def test_symbols_that_are_no_markets_are_named_with_the_nearest(exchange: RunningExchange, ask: Asked) -> None:
    found = ask(reach(exchange), symbols=["BTC/USDT", "ETH/USD", "XTH/USDT", "BTC/USDT:USDT"])
    assert "symbols" not in found
    assert found["symbol ETH/USD"].level == "fail"
    assert "did you mean ETH/USDT?" in found["symbol ETH/USD"].remedy
    assert found["symbol XTH/USDT"].remedy == "correct symbols", "another coin is no correction"
    assert found["symbol BTC/USDT:USDT"].remedy == "only spot markets are streamed: write BTC/USDT"


def test_a_share_that_is_too_small_is_found(exchange: RunningExchange, ask: Asked) -> None:
    found = ask(reach(exchange, requests_per_minute=10), symbols=["BTC/USDT", "ETH/USDT"])
    assert found["rate limit"].level == "warn"
    assert "of the 4 a minute" in found["rate limit"].found
    assert "feed_share" in found["rate limit"].remedy


def test_a_clock_that_differs_is_found(exchange: RunningExchange, ask: Asked) -> None:
    exchange.arm("clock_skew", skew_ms=5000)
    try:
        finding = ask(reach(exchange), symbols=["BTC/USDT"])["exchange clock"]
    finally:
        exchange.clear()
    assert finding.level == "fail"
    assert "behind the exchange's" in finding.found


def test_an_exchange_that_has_had_enough_is_not_asked(
    exchange: RunningExchange, ask: Asked, run_dir: Path
) -> None:
    exchange.arm("status", status=429, retry_after=30)
    try:
        found = ask(reach(exchange))
    finally:
        exchange.clear()
    assert [(finding.check, finding.level) for finding in found.values()] == [("exchange", "warn")]
    assert "wants to be asked nothing" in found["exchange"].found


def test_a_cool_down_of_the_feed_is_obeyed(exchange: RunningExchange, run_dir: Path) -> None:
    data = {"supervisor": {"data_dir": run_dir / "var"}, "feed": {"source": "ccxt"}, "exchange": reach(exchange)}
    config = Config.model_validate(data)
    cool_down = CoolDown(config.state_dir / FILE)
    cool_down.begin(60, "429 Too Many Requests")
    cool_down.save()
    asked = len(exchange.log.asked("*"))
    (finding,) = check_exchange(Patient(config, None, run_dir, {}))
    assert finding.level == "warn"
    assert "429 Too Many Requests, for another 60 s" in finding.found
    assert len(exchange.log.asked("*")) == asked


NOWHERE = {"public": "http://127.0.0.1:9/api/v3", "private": "http://127.0.0.1:9/api/v3"}


def test_without_a_network_it_says_so_soon(ask: Asked) -> None:
    began = time.monotonic()
    found = ask({"id": "binance", "urls": NOWHERE})
    assert time.monotonic() - began < 15
    assert found["exchange"].level == "fail"
    assert "binance cannot be reached" in found["exchange"].found


@pytest.mark.parametrize(
    ("settings", "check", "words"),
    [
        ({"id": "binanse"}, "exchange", "did you mean binance?"),
        ({"id": "binance", "urls": {"pubic": "http://127.0.0.1:9"}}, "exchange", "has no such URL"),
        ({"id": "mexc", "sandbox": True}, "exchange", "has none"),
        ({"id": "mexc", "proxy": "http://127.0.0.1:9"}, "exchange proxy", "127.0.0.1:9 cannot be reached"),
    ],
)
def test_settings_that_cannot_work_are_named(ask: Asked, settings: dict[str, Any], check: str, words: str) -> None:
    found = ask(settings)
    assert list(found) == [check]
    assert found[check].level == "fail"
    assert words in found[check].found


def test_a_simulated_market_asks_nobody(run_dir: Path) -> None:
    assert list(check_exchange(Patient(Config(), None, run_dir, {}))) == []
