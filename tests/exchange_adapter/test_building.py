"""From the configuration to a ccxt object: any exchange, its URLs, options, sandbox and proxy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from levibot.config_market import ExchangeConfig
from levibot.errors import ConfigError
from levibot.exchange.building import build
from levibot.exchange.quirks import Quirks, quirks_of


def made(exchange_id: str, swaps: bool = False, **settings: Any) -> Any:
    return build(exchange_id, ExchangeConfig(**settings), quirks_of(exchange_id), swaps=swaps)


@pytest.mark.parametrize("exchange_id", ["binance", "mexc", "bybit", "okx", "kraken", "coinbase"])
def test_every_exchange_of_the_table_is_there_with_the_streams_it_claims(exchange_id: str) -> None:
    exchange, quirks = made(exchange_id), quirks_of(exchange_id)
    assert exchange.id == exchange_id
    for stream in {*quirks.streams, quirks.best_price}:
        assert callable(getattr(exchange, stream))
    assert {"watch_trades", "watch_order_book"} <= quirks.streams
    assert quirks.best_price in quirks.streams
    assert exchange.streaming["keepAlive"] == quirks.keep_alive_ms
    assert exchange.options.get("defaultType", "spot") == "spot"


def test_the_ids_that_are_known_without_ccxt_are_those_that_ccxt_knows() -> None:
    code = (
        "import sys; from levibot.exchange.names import streamed_ids; told = streamed_ids(); "
        "assert 'ccxt' not in sys.modules; import ccxt.pro; assert told == set(ccxt.pro.exchanges), told"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_urls_are_dotted_keys() -> None:
    exchange = made(
        "binance", urls={"public": "http://127.0.0.1:1/api/v3", "ws.ws-api.spot": "ws://127.0.0.1:2/x"}
    )
    assert exchange.urls["api"]["public"] == "http://127.0.0.1:1/api/v3"
    assert exchange.urls["api"]["ws"]["ws-api"]["spot"] == "ws://127.0.0.1:2/x"
    assert exchange.urls["api"]["private"].startswith("https://")
    assert made("binance").urls["api"]["public"].startswith("https://")  # of one object, not of all


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("ws", 'it has "ws.'),
        ("zzz", 'it has "'),
        ("ws.spt", 'did you mean "ws.spot"?'),
        ("public.more", 'did you mean "public"?'),
        ("pubic", 'did you mean "public"?'),
    ],
)
def test_a_url_that_the_exchange_does_not_have_is_named_with_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        made("binance", urls={key: "http://127.0.0.1:1"})
    assert f'"{key}": binance has no such URL; {hint}' in str(refused.value)
    assert len(str(refused.value)) < 250


def test_options_win_over_ours_and_are_merged() -> None:
    exchange = made("binance", options={"fetchMarkets": {"types": ["linear"]}, "recvWindow": 7000})
    assert exchange.options["fetchMarkets"]["types"] == ["linear"]
    assert exchange.options["recvWindow"] == 7000
    assert exchange.options["fetchMargins"] is False


def test_swaps_are_seen_where_they_are_wanted() -> None:
    assert made("binance").options["fetchMarkets"]["types"] == ["spot"]
    assert made("binance", swaps=True).options["fetchMarkets"]["types"] == ["spot", "linear"]


def test_the_sandbox_has_other_urls_or_is_refused() -> None:
    assert "testnet" in made("binance", sandbox=True).urls["api"]["public"]
    with pytest.raises(ConfigError, match="sandbox: mexc has none"):
        made("mexc", sandbox=True)


def test_an_unknown_exchange_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean binance"):
        made("binnance")


def test_an_exchange_outside_the_table_gets_safe_limits() -> None:
    assert quirks_of("upbit") == Quirks()
