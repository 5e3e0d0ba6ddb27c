"""Pointing the real ccxt at an exchange on this machine: plain configuration, as a user would write it.

`urls` maps dotted keys below ``exchange.urls["api"]`` to URLs, and `options` is merged into
``exchange.options``: what ``[exchange.urls]`` and ``[exchange.options]`` of ``supervisor.toml`` hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ccxt.pro

from tests.exchange.settings import KEY, PUBLIC_ONLY, SECRET, DialectName


@dataclass(frozen=True)
class Connection:
    """Configuration for one exchange."""

    id: DialectName
    urls: Mapping[str, str]
    options: Mapping[str, Any]

    def toml(self) -> str:
        """The sections as they stand in a configuration file."""
        lines = ["[exchange]", f'id = "{self.id}"', "", "[exchange.urls]"]
        lines += [f'"{key}" = "{url}"' for key, url in self.urls.items()]
        lines += ["", "[exchange.options]"]
        lines += [f"{key} = {_toml(value)}" for key, value in self.options.items()]
        return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return str(value)


def connection(dialect: DialectName, port: int) -> Connection:
    """How ccxt reaches this dialect on that port."""
    host = f"127.0.0.1:{port}"
    if dialect == "binance":
        return Connection(
            dialect,
            {
                "public": f"http://{host}/api/v3",
                "private": f"http://{host}/api/v3",
                "sapi": f"http://{host}/sapi/v1",
                "ws.spot": f"ws://{host}/stream/ws",
                "ws.ws-api.spot": f"ws://{host}/ws-api/v3",
            },
            {
                "fetchMarkets": {"types": ["spot"]},
                "fetchMargins": False,
                "fetchCurrencies": False,
                "streamLimits": {"spot": 1},
            },
        )
    if dialect == "bybit":
        return Connection(
            dialect,
            {"public": f"http://{host}", "ws.public.spot": f"ws://{host}/v5/public/spot"},
            {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
        )
    if dialect == "okx":
        return Connection(
            dialect,
            {"rest": f"http://{host}", "ws": f"ws://{host}/ws/v5"},
            {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
        )
    if dialect == "kraken":
        return Connection(dialect, {"public": f"http://{host}", "ws.publicV2": f"ws://{host}/v2"}, {})
    return Connection(
        dialect,
        {
            "spot.public": f"http://{host}",
            "spot.private": f"http://{host}",
            "contract.public": f"http://{host}/api/v1/contract",
            "ws.spot": f"ws://{host}/ws",
        },
        {"defaultType": "spot"},
    )


def apply(exchange: Any, urls: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Put URLs and options into a ccxt exchange."""
    for key, url in urls.items():
        *parents, last = key.split(".")
        target = exchange.urls["api"]
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = url
    exchange.options = exchange.deep_extend(exchange.options, dict(options))


def make(dialect: DialectName, port: int, *, key: str = KEY, secret: str = SECRET, **config: Any) -> Any:
    """A real ccxt.pro exchange that talks to that port."""
    keys = {} if dialect in PUBLIC_ONLY else {"apiKey": key, "secret": secret}
    exchange = getattr(ccxt.pro, dialect)({**keys, **config})
    settings = connection(dialect, port)
    apply(exchange, settings.urls, settings.options)
    return exchange
