"""Making the ccxt object of an exchange from the configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from levibot.config_market import ExchangeConfig
from levibot.errors import ConfigError
from levibot.exchange.amendments import AMENDMENTS
from levibot.exchange.guard import guarded_class
from levibot.exchange.names import check_id
from levibot.exchange.quirks import Quirks

_REQUEST_TIMEOUT_MS = 60_000  # the deadline of a call is what ends a request; this one only stops leaks
_URLS_TOLD = 6


def build(exchange_id: str, config: ExchangeConfig, quirks: Quirks, *, swaps: bool) -> Any:
    """A guarded object of ccxt.pro; nothing is sent yet. Imports ccxt, which takes half a second.

    Parameters
    ----------
    exchange_id
        Any that ccxt.pro streams.
    config
        Section ``[exchange]``.
    quirks
        Of this exchange.
    swaps
        Whether swaps are traded as well as spot markets.

    Raises
    ------
    ConfigError
        If there is no such exchange, it has no sandbox, a URL key is none, or a library is missing.
    """
    import ccxt.pro

    check_id(exchange_id, ccxt.pro.exchanges)
    if quirks.needs_protobuf:
        _check_protobuf(exchange_id)
    exchange = guarded_class(getattr(ccxt.pro, exchange_id), AMENDMENTS.get(exchange_id))(
        {"enableRateLimit": True, "timeout": _REQUEST_TIMEOUT_MS}
    )
    options: Mapping[str, Any] = {**quirks.spot_options, **(quirks.swap_options if swaps else {})}
    exchange.options = exchange.deep_extend(exchange.options, dict(options), dict(config.options))
    exchange.streaming = {**exchange.streaming, "keepAlive": quirks.keep_alive_ms}
    if quirks.skips_swaps and not swaps:
        exchange.fetch_swap_markets = _no_markets
    if config.sandbox:
        _use_sandbox(exchange, exchange_id)
    for key, url in config.urls.items():
        _set_url(exchange, key, url)
    if config.proxy is not None:
        exchange.https_proxy = exchange.wss_proxy = config.proxy
    return exchange


def _check_protobuf(exchange_id: str) -> None:
    if find_spec("google") is None or find_spec("google.protobuf") is None:
        raise ConfigError(
            f"{exchange_id} streams protobuf, and the package protobuf is missing; install LeviBot's "
            "requirements again"
        )


def _use_sandbox(exchange: Any, exchange_id: str) -> None:
    if not exchange.urls.get("test"):
        raise ConfigError(f"[exchange] sandbox: {exchange_id} has none; set it to false")
    exchange.set_sandbox_mode(True)


def _set_url(exchange: Any, key: str, url: str) -> None:
    *parents, last = key.split(".")
    table = exchange.urls["api"]
    for parent in parents:
        table = table.get(parent) if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(table.get(last), str):
        raise ConfigError(f'[exchange.urls] "{key}": {exchange.id} has no such URL; {_nearest_url(exchange, key)}')
    table[last] = url


def _nearest_url(exchange: Any, key: str) -> str:
    """Some have forty: those that are like it are told, else those of most use."""
    known = sorted(_url_keys(exchange.urls["api"]))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f'did you mean "{near[0]}"?'
    below = [name for name in known if name.startswith(f"{key}.")] or known
    others = ", and more" if len(below) > _URLS_TOLD else ""
    return "it has " + ", ".join(f'"{name}"' for name in below[:_URLS_TOLD]) + others


def _url_keys(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, value in table.items():
        keys += _url_keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


async def _no_markets(params: Mapping[str, Any] | None = None) -> list[Any]:
    return []
