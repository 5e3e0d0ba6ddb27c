"""From the configuration to the sources that are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from levibot.altdata.source import AltSource
from levibot.config_altdata import AltDataConfig, AltSourceConfig

if TYPE_CHECKING:
    from levibot.altdata.http import HttpClient

_TIMEOUT_S = 30.0
FUNDING = "funding"  # source of what the feed asks its exchange for


def make_sources(config: AltDataConfig, environ: Mapping[str, str]) -> list[tuple[AltSource, str]]:
    """Every source that is enabled, with the identity of its settings; what one needs is imported for it alone.

    Parameters
    ----------
    config
        Section ``[altdata]``.
    environ
        Variables of the process, and what the supervisor handed over.
    """
    makers: tuple[tuple[AltSourceConfig, Callable[[], AltSource]], ...] = (
        (config.coin_metrics, lambda: _coin_metrics(config)),
    )
    return [(make(), identity(section)) for section, make in makers if section.enabled]


def identity(section: AltSourceConfig) -> str:
    """Changes with the settings of a source: values of others are not taken up again."""
    return hashlib.sha256(section.model_dump_json().encode()).hexdigest()[:16]


def base_assets(symbols: tuple[str, ...] | list[str]) -> list[str]:
    """Base assets of symbols, each once."""
    return list(dict.fromkeys(symbol.partition("/")[0] for symbol in symbols))


def _coin_metrics(config: AltDataConfig) -> AltSource:
    from levibot.altdata.onchain.coin_metrics import CoinMetrics

    section = config.coin_metrics  # the community tier allows 10 requests in 6 seconds
    return CoinMetrics(section, _http(CoinMetrics.name, section.url, per_minute=30))


def _http(name: str, url: str, *, per_minute: float) -> HttpClient:
    from levibot.altdata.bucket import TokenBucket
    from levibot.altdata.http import HttpClient

    return HttpClient(name, url, timeout_s=_TIMEOUT_S, bucket=TokenBucket(per_minute, burst=4))
