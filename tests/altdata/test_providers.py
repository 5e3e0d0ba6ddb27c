"""Every provider against a server that speaks its protocol, and every fault of every one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from levibot.altdata.bucket import TokenBucket
from levibot.altdata.http import HttpClient
from levibot.altdata.keys import ProviderKey
from levibot.altdata.onchain.coin_metrics import CoinMetrics
from levibot.altdata.onchain.dune import Dune
from levibot.altdata.onchain.mempool import Mempool
from levibot.altdata.source import AltSource, PartialFetchError, Reading
from levibot.altdata.sources import DUNE_KEY
from levibot.config_altdata import CoinMetricsConfig, DuneConfig, MempoolConfig
from levibot.errors import AltDataError
from tests.altdata.providers import FAULTS, Answer, Fault, serving

NOW_MS = int(datetime(2026, 1, 31, 3, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000
ASSETS = ["BTC", "ETH", "SOL"]


def http(name: str, url: str, patience_s: float) -> HttpClient:
    """As the real one, but for its patience."""
    bucket = TokenBucket(60_000, burst=100)
    return HttpClient(name, url, timeout_s=patience_s, bucket=bucket, pauses_s=(0.01, 0.01))


@dataclass(frozen=True)
class Spoken:
    """A provider's protocol."""

    make: Callable[[str, float], AltSource]  # from its URL, and how many seconds a request may take
    answers: dict[str, Answer]
    readings: list[Reading]
    nonsense: tuple[Any, ...]  # bodies of the right form with values that cannot be


def community(*days: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """Coin Metrics' answer: rows of asset, day, metrics."""
    return {"data": [{"asset": asset, "time": f"{day}T00:00:00.000000000Z", **row} for asset, day, row in days]}


COIN_METRICS = Spoken(
    lambda url, patience_s: CoinMetrics(
        CoinMetricsConfig(url=f"{url}/v4"), http("coin-metrics", f"{url}/v4", patience_s)
    ),
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
MEMPOOL = Spoken(
    lambda url, patience_s: Mempool(MempoolConfig(url=url), http("mempool", url, patience_s)),
    {
        "/api/v1/fees/recommended": lambda _request: {
            "fastestFee": 5,
            "halfHourFee": 4,
            "hourFee": 3.5,
            "economyFee": 2,
            "minimumFee": 1,
        },
        "/api/mempool": lambda _request: {
            "count": 35_800,
            "vsize": 22_512_000,
            "total_fee": 1_647_705,
            "fee_histogram": [[10.79, 50_019], [1.0, 8_619]],
        },
        "/api/v1/difficulty-adjustment": lambda _request: {
            "progressPercent": 44.39,
            "difficultyChange": -2.5,
            "estimatedRetargetDate": 1_627_762_478_000,
            "remainingBlocks": 1_121,
            "previousRetarget": -4.8,
        },
    },
    [
        Reading("BTC", "difficulty_change", -0.025, NOW_MS),
        Reading("BTC", "fee_hour", 3.5, NOW_MS),
        Reading("BTC", "fee_rate", 5.0, NOW_MS),
        Reading("BTC", "mempool_transactions", 35_800.0, NOW_MS),
        Reading("BTC", "mempool_vsize", 22_512_000.0, NOW_MS),
    ],
    (
        {"fastestFee": -1, "hourFee": -1, "count": -1, "vsize": 1, "difficultyChange": -101},
        {"fastestFee": "5", "hourFee": 1, "count": "many", "vsize": 1, "difficultyChange": None},
        b'{"fastestFee": NaN, "hourFee": 1, "count": NaN, "vsize": 1, "difficultyChange": NaN}',
        b'{"fastestFee": 1e999, "hourFee": 1, "count": 1e999, "vsize": 1, "difficultyChange": 1e999}',
    ),
)


def result(*rows: dict[str, Any], state: str = "QUERY_STATE_COMPLETED", **other: Any) -> dict[str, Any]:
    """Dune's answer about the newest result of a query."""
    columns = {"column_names": list(rows[0]) if rows else [], "column_types": ["varchar"] * len(rows)}
    counts = ("row_count", "total_row_count", "result_set_bytes", "total_result_set_bytes", "datapoint_count")
    metadata = {
        **columns,
        **dict.fromkeys(counts, len(rows)),
        "pending_time_millis": 5,
        "execution_time_millis": 100,
    }
    return {
        "execution_id": "01HKZJ2683PHF9Q9PHHQ8FW4Q1",
        "query_id": 1234,
        "is_execution_finished": True,
        "state": state,
        "submitted_at": "2026-01-31T02:00:00.5Z",
        "expires_at": "2026-05-01T02:00:00.5Z",
        "execution_started_at": "2026-01-31T02:00:01Z",
        "execution_ended_at": "2026-01-31T02:00:10.724658237Z",
        "result": {"rows": list(rows), "metadata": metadata},
        **other,
    }


def dune(url: str, patience_s: float, environ: dict[str, str] | None = None, key_file: Path | None = None) -> Dune:
    config = DuneConfig(url=url, queries={"exchange_netflow": 1234, "stablecoin_supply": 99}, key_file=key_file)
    key = ProviderKey("dune", DUNE_KEY, "dune", key_file, {DUNE_KEY: KEY} if environ is None else environ)
    return Dune(config, http("dune", url, patience_s), key)


KEY = "a-key-that-nobody-may-see"
RAN_MS = NOW_MS - 3_600_000 + 10_724
DUNE = Spoken(
    dune,
    {
        "/api/v1/query/1234/results": lambda _request: result(
            {"asset": "BTC", "value": -12.5},
            {"asset": "eth", "value": "340282366920938463463"},
            {"asset": "DOGE", "value": 1},
        ),
        "/api/v1/query/99/results": lambda _request: result({"value": 3.1e11, "day": "2026-01-31"}),
    },
    [
        Reading("", "stablecoin_supply", 3.1e11, RAN_MS),
        Reading("BTC", "exchange_netflow", -12.5, RAN_MS),
        Reading("ETH", "exchange_netflow", 3.4028236692093846e20, RAN_MS),
    ],
    (
        *(result({"asset": "BTC", "value": value}) for value in ("NaN", "Infinity", None, [], True, "1e999")),
        result({"asset": "BTC", "value": 1}, {"asset": "btc", "value": 2}),
        result({"asset": "BTC", "value": 1}, {"value": 2}),
        result({"asset": 5, "value": 1}),
        result({"asset": "BTC", "amount": 1}),
        result(state="QUERY_STATE_FAILED"),
        result(state="QUERY_STATE_EXECUTING", result=None),
        result(state="QUERY_STATE_OF_MIND"),
        result({"asset": "BTC", "value": 1}, execution_ended_at=None),
        result({"asset": "BTC", "value": 1}, execution_ended_at="yesterday"),
        result({"asset": "BTC", "value": 1}, submitted_at=None),
        result(result={"rows": "none", "metadata": {}}),
        result(result={"rows": [1, 2], "metadata": {}}),
        result(result={"rows": [1], "metadata": result()["result"]["metadata"]}),
        {"error": "Query not found"},
    ),
)
PROVIDERS = {"coin-metrics": COIN_METRICS, "mempool": MEMPOOL, "dune": DUNE}
each_provider = pytest.mark.parametrize("name", PROVIDERS)


def ask(provider: Spoken, *faults: Fault, answers: dict[str, Answer] | None = None, times: int = 1) -> Any:
    """What the source gives at its last fetch, an error included; the source; and how often it asked."""

    async def play() -> Any:
        async with serving(answers or provider.answers) as server:
            for fault in faults:
                server.fail(fault)
            # A slow machine is no slow provider.
            source = provider.make(server.url, 0.15 if any(fault.wait_s for fault in faults) else 60.0)
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
    assert found.kind in ("malformed", "refused", "stale")


def test_coin_metrics_is_asked_for_what_is_wanted() -> None:
    async def play() -> None:
        async with serving(COIN_METRICS.answers) as server:
            source = COIN_METRICS.make(server.url, 60.0)
            await source.fetch(["BTC", "ETH"], NOW_MS)
            await source.close()
            query = server.asked[0].query
            assert query["assets"] == "btc,eth"
            assert query["metrics"] == "AdrActCnt,TxCnt,FlowInExNtv,FlowOutExNtv,CapMVRVCur"
            assert query["frequency"] == "1d"

    asyncio.run(play())


@pytest.mark.parametrize("name", ["mempool", "dune"])
def test_of_several_requests_one_may_fail(name: str) -> None:
    provider = PROVIDERS[name]
    first, *others = provider.answers
    found, *_ = ask(provider, answers={path: provider.answers[path] for path in others})
    assert isinstance(found, PartialFetchError)
    assert found.kind == "refused"
    assert first in str(found)
    assert found.readings
    assert set(found.readings) < set(provider.readings)


def test_dune_gets_the_key_and_nobody_else_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    echo = Fault("echo", "refused", 400, body=f"bad request of {KEY}".encode())
    found, *_ = ask(DUNE, echo)
    assert KEY not in str(found)
    assert KEY not in caplog.text

    async def headers() -> set[str]:
        async with serving(DUNE.answers) as server:
            source = DUNE.make(server.url, 60.0)
            await source.fetch(ASSETS, NOW_MS)
            await source.close()
            return {request.headers["X-Dune-Api-Key"] for request in server.asked}

    assert asyncio.run(headers()) == {KEY}


def test_the_key_is_read_from_a_private_file_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "dune.key"
    missing = Spoken(lambda url, patience_s: dune(url, patience_s, key_file=file), DUNE.answers, [], ())
    found, _, asked = ask(missing)
    assert found.kind == "key"
    assert not asked
    file.write_text(f"{KEY}\n")
    file.chmod(0o644)
    found, *_ = ask(missing)
    assert found.kind == "key"
    assert "chmod 600" in str(found)
    file.chmod(0o600)
    assert ask(missing)[0] == DUNE.readings


def test_a_key_may_be_a_credential_of_the_unit(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    provider = Spoken(lambda url, patience_s: dune(url, patience_s, environ), DUNE.answers, [], ())
    found, *_ = ask(provider)
    assert DUNE_KEY in str(found)
    assert "LoadCredential=dune" in str(found)
    (tmp_path / "dune").write_text(KEY)
    assert ask(provider)[0] == DUNE.readings


def test_the_newest_day_is_compared_with_its_month() -> None:
    days = [f"2026-01-{day:02}" for day in range(1, 31)]

    def month(*missing: int) -> Any:
        rows = [("btc", day, {"TxCnt": 100 + 29 * (at == 29)}) for at, day in enumerate(days) if at not in missing]
        # What is older than a month belongs to no mean.
        body = community(("btc", "2025-12-29", {"TxCnt": 1_000_000}), *rows)
        found, *_ = ask(COIN_METRICS, answers=dict.fromkeys(COIN_METRICS.answers, lambda _request: body))
        return {reading.name: reading.value for reading in found}

    mean = (29 * 100 + 129) / 30
    assert month() == {"transactions": 129.0, "transactions_change": pytest.approx(129 / mean - 1)}
    assert set(month(1, 2, 3, 4, 5)) == {"transactions", "transactions_change"}
    assert set(month(1, 2, 3, 4, 5, 6)) == {"transactions"}
