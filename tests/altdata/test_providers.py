"""Every provider against a server that speaks its protocol, and every fault of every one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from levibot.altdata.bucket import TokenBucket
from levibot.altdata.http import HttpClient
from levibot.altdata.onchain.coin_metrics import CoinMetrics
from levibot.altdata.source import AltSource, Reading
from levibot.config_altdata import CoinMetricsConfig
from levibot.errors import AltDataError
from tests.altdata.providers import FAULTS, Answer, Fault, serving

NOW_MS = int(datetime(2026, 1, 31, 3, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000
ASSETS = ["BTC", "ETH", "SOL"]


def http(name: str, url: str) -> HttpClient:
    """As the real one, but for its patience."""
    bucket = TokenBucket(60_000, burst=100)
    return HttpClient(name, url, timeout_s=0.3, bucket=bucket, pauses_s=(0.01, 0.01))


@dataclass(frozen=True)
class Spoken:
    """A provider's protocol."""

    make: Callable[[str], AltSource]  # from its URL
    answers: dict[str, Answer]
    readings: list[Reading]
    nonsense: tuple[Any, ...]  # bodies of the right form with values that cannot be


def community(*days: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """Coin Metrics' answer: rows of asset, day, metrics."""
    return {"data": [{"asset": asset, "time": f"{day}T00:00:00.000000000Z", **row} for asset, day, row in days]}


COIN_METRICS = Spoken(
    lambda url: CoinMetrics(CoinMetricsConfig(url=f"{url}/v4"), http("coin-metrics", f"{url}/v4")),
    {
        "/v4/timeseries/asset-metrics": lambda _request: community(
            ("btc", "2026-01-29", {"AdrActCnt": "905210", "TxCnt": "400000", "FlowInExNtv": "20000.5"}),
            ("btc", "2026-01-30", {"AdrActCnt": "911000", "TxCnt": "410000", "FlowInExNtv": None}),
            ("eth", "2026-01-30", {"AdrActCnt": "600001", "TxCnt": 1_200_000}),
        )
    },
    [
        Reading("BTC", "active_addresses", 911_000.0, NOW_MS - DAY_MS - 3 * 3_600_000),
        Reading("BTC", "exchange_inflow", 20_000.5, NOW_MS - 2 * DAY_MS - 3 * 3_600_000),
        Reading("BTC", "transactions", 410_000.0, NOW_MS - DAY_MS - 3 * 3_600_000),
        Reading("ETH", "active_addresses", 600_001.0, NOW_MS - DAY_MS - 3 * 3_600_000),
        Reading("ETH", "transactions", 1_200_000.0, NOW_MS - DAY_MS - 3 * 3_600_000),
    ],
    (
        *(
            community(("btc", "2026-01-30", {"AdrActCnt": value}))
            for value in ("NaN", "inf", "-1e999", "-5", "many", "", "1e999", -3)
        ),
        community(),
        community(("doge", "2026-01-30", {"AdrActCnt": "1"})),
        {"data": [{"asset": "btc", "AdrActCnt": "1"}]},
        {"data": [{"asset": "btc", "time": "yesterday", "AdrActCnt": "1"}]},
        {"data": [{"asset": "btc", "time": 5, "AdrActCnt": True}]},
        b'{"data": [{"asset": "btc", "time": "2026-01-30T00:00:00Z", "AdrActCnt": NaN}]}',
    ),
)
PROVIDERS = {"coin-metrics": COIN_METRICS}
each_provider = pytest.mark.parametrize("name", PROVIDERS)


def ask(provider: Spoken, *faults: Fault, answers: dict[str, Answer] | None = None, times: int = 1) -> Any:
    """What the source gives at its last fetch, an error included; the source; and how often it asked."""

    async def play() -> Any:
        async with serving(answers or provider.answers) as server:
            for fault in faults:
                server.fail(fault)
            source = provider.make(server.url)
            try:
                found: Any = None
                for _ in range(times):
                    try:
                        found = sorted(await source.fetch(ASSETS, NOW_MS))
                    except AltDataError as error:
                        found = error
                return found, source, len(server.asked)
            finally:
                await source.close()

    return asyncio.run(play())


@each_provider
def test_it_tells_what_there_is(name: str) -> None:
    found, source, asked = ask(PROVIDERS[name])
    assert found == PROVIDERS[name].readings
    assert source.usage.requests == asked
    assert source.name == name


@each_provider
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_an_error_of_its_kind(name: str, fault: Fault) -> None:
    found, source, asked = ask(PROVIDERS[name], fault)
    if fault.survived:
        assert found == PROVIDERS[name].readings
        return
    assert isinstance(found, AltDataError), found
    assert found.kind == fault.kind
    assert name in str(found)
    paths = len(PROVIDERS[name].answers)
    # Trouble is tried again twice; what is definite, and who asks for patience, is not.
    assert asked == (3 * paths if fault.kind == "unreachable" else 1 if fault.kind == "throttled" else paths)
    if fault.kind == "throttled":
        assert source.usage.throttled
        named = fault.headers.get("Retry-After", "60")
        assert found.wait_s == float(named) if named.isdigit() else found.wait_s == 86_400


@each_provider
def test_who_asks_for_patience_is_asked_nothing(name: str) -> None:
    throttled = next(fault for fault in FAULTS if fault.kind == "throttled")
    found, _, asked = ask(PROVIDERS[name], throttled, times=3)
    assert found.kind == "throttled"
    assert found.wait_s > 100
    assert asked == 1


def _nonsense() -> list[tuple[str, Any]]:
    return [(name, body) for name, provider in PROVIDERS.items() for body in provider.nonsense]


@pytest.mark.parametrize(("name", "body"), _nonsense(), ids=repr)
def test_a_value_that_cannot_be_is_no_value(name: str, body: Any) -> None:
    provider = PROVIDERS[name]
    found, *_ = ask(provider, answers=dict.fromkeys(provider.answers, lambda _request: body))
    assert isinstance(found, AltDataError), found
    assert found.kind in ("malformed", "refused")


def test_coin_metrics_is_asked_for_what_is_wanted() -> None:
    async def play() -> None:
        async with serving(COIN_METRICS.answers) as server:
            source = COIN_METRICS.make(server.url)
            await source.fetch(["BTC", "ETH"], NOW_MS)
            await source.close()
            query = server.asked[0].query
            assert query["assets"] == "btc,eth"
            assert query["metrics"] == "AdrActCnt,TxCnt,FlowInExNtv,FlowOutExNtv"
            assert query["frequency"] == "1d"

    asyncio.run(play())
