"""From the configuration to the sources that are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from levibot.altdata.keys import ProviderKey
from levibot.altdata.source import AltSource, LackingSource
from levibot.config_altdata import AltDataConfig, AltSourceConfig, NewsConfig
from levibot.locations import PROVIDER_KEY_VARIABLES

if TYPE_CHECKING:
    from levibot.altdata.http import HttpClient
    from levibot.altdata.sentiment.cache import ScoreCache
    from levibot.altdata.sentiment.scorer import Scorer

_SCORES = "headline-scores.sqlite"
DUNE_KEY, SENTIMENT_KEY = PROVIDER_KEY_VARIABLES
_TIMEOUT_S = 30.0
_LARGEST_FEED = 1_000_000
_FEED_TYPES = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"
FUNDING = "funding"  # source of what the feed asks its exchange for


def make_sources(config: AltDataConfig, folder: Path, environ: Mapping[str, str]) -> list[tuple[AltSource, str]]:
    """Every source that is enabled, with the identity of its settings; what one needs is imported for it alone.

    Parameters
    ----------
    config
        Section ``[altdata]``.
    folder
        Where sources keep what they must know again after a restart.
    environ
        Variables of the process, and what the supervisor handed over.
    """
    makers: tuple[tuple[str, AltSourceConfig, Callable[[], AltSource]], ...] = (
        ("coin-metrics", config.coin_metrics, lambda: _coin_metrics(config)),
        ("news", config.news, lambda: _news(config.news, folder, environ)),
        ("mempool", config.mempool, lambda: _mempool(config)),
        ("dune", config.dune, lambda: _dune(config, environ)),
    )
    return [(_made(name, section, make), identity(section)) for name, section, make in makers if section.enabled]


def identity(section: AltSourceConfig) -> str:
    """Changes with the settings of a source: values of others are not taken up again."""
    return hashlib.sha256(section.model_dump_json().encode()).hexdigest()[:16]


def feed_names(urls: Sequence[str]) -> dict[str, str]:
    """Addresses of feeds by what they are called: host and path, never the query; numbered if these are alike."""
    names: dict[str, str] = {}
    for url in dict.fromkeys(urls):
        name = plain = urlsplit(url).netloc + urlsplit(url).path
        number = 1
        while name in names:
            number += 1
            name = f"{plain} ({number})"
        names[name] = url
    return names


def base_assets(symbols: tuple[str, ...] | list[str]) -> list[str]:
    """Base assets of symbols, each once."""
    return list(dict.fromkeys(symbol.partition("/")[0] for symbol in symbols))


def _made(name: str, section: AltSourceConfig, make: Callable[[], AltSource]) -> AltSource:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 -- a package that is broken is no reason for the others to be missing
        reason = f"cannot be made ({type(error).__name__}: {error}); mend that and restart it, or disable it"
        return LackingSource(name, section.interval, section.max_age, reason)


def _coin_metrics(config: AltDataConfig) -> AltSource:
    from levibot.altdata.onchain.coin_metrics import CoinMetrics

    section = config.coin_metrics  # the community tier allows 10 requests in 6 seconds
    return CoinMetrics(section, _http(CoinMetrics.name, section.url, per_minute=30))


def _news(section: NewsConfig, folder: Path, environ: Mapping[str, str]) -> AltSource:
    from levibot.altdata.sentiment.cache import ScoreCache
    from levibot.altdata.sentiment.source import NewsSource

    feeds = {name: _feed(url) for name, url in feed_names(section.feeds).items()}
    cache = ScoreCache(folder / _SCORES)
    return NewsSource(section, feeds, _scorer(section, cache, environ), cache)


def _scorer(section: NewsConfig, cache: ScoreCache, environ: Mapping[str, str]) -> Scorer:
    if section.scorer == "vader":
        from levibot.altdata.sentiment.lexicon import LexiconScorer

        return LexiconScorer()
    from levibot.altdata.bucket import TokenBucket
    from levibot.altdata.http import HttpClient
    from levibot.altdata.sentiment.llm import LlmScorer

    bucket = TokenBucket(section.requests_per_minute, section.burst)
    # Not tried again at once: each request costs, and the headline is still there at the next fetch.
    client = HttpClient("news", section.url, timeout_s=section.timeout, bucket=bucket, pauses_s=())
    key = ProviderKey("news", SENTIMENT_KEY, "sentiment", section.key_file, environ)
    return LlmScorer(client, section, key, cache)


def _mempool(config: AltDataConfig) -> AltSource:
    from levibot.altdata.onchain.mempool import Mempool

    section = config.mempool  # whose limits are not told, and which bans who exceeds them
    return Mempool(section, _http(Mempool.name, section.url, per_minute=10))


def _dune(config: AltDataConfig, environ: Mapping[str, str]) -> AltSource:
    section = config.dune
    if find_spec("dune_client") is None:
        reason = "dune-client is not installed; `pip install levibot[altdata]`, or set enabled = false"
        return LackingSource("dune", section.interval, section.max_age, reason)
    from levibot.altdata.onchain.dune import Dune

    key = ProviderKey(Dune.name, DUNE_KEY, "dune", section.key_file, environ)
    return Dune(section, _http(Dune.name, section.url, per_minute=30), key)  # the free plan allows 40 a minute


def _feed(url: str) -> HttpClient:
    from levibot.altdata.bucket import TokenBucket
    from levibot.altdata.http import HttpClient

    return HttpClient(
        "news",
        url,
        timeout_s=_TIMEOUT_S,
        bucket=TokenBucket(12, burst=4),
        max_bytes=_LARGEST_FEED,
        accept=_FEED_TYPES,
    )


def _http(name: str, url: str, *, per_minute: float) -> HttpClient:
    from levibot.altdata.bucket import TokenBucket
    from levibot.altdata.http import HttpClient

    return HttpClient(name, url, timeout_s=_TIMEOUT_S, bucket=TokenBucket(per_minute, burst=4))
