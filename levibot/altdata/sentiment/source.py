"""Sentiment: headlines of the user's feeds, each scored once, and what they come to for each asset."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from levibot.altdata.http import HttpClient
from levibot.altdata.sentiment.cache import ScoreCache
from levibot.altdata.sentiment.headlines import MARKET, AssetNames, Headline, read_feed
from levibot.altdata.sentiment.mood import Scored, mood
from levibot.altdata.sentiment.scorer import Scorer
from levibot.altdata.source import PartialFetchError, Reading, Usage
from levibot.config_altdata import NewsConfig
from levibot.errors import AltDataError


class NewsSource:
    """Gives `sentiment` (-1 to 1) and `news_count` of each asset, and of the market as a whole.

    Parameters
    ----------
    config
        Section ``[altdata.news]``.
    feeds
        A client for each feed, by the name of the feed.
    scorer
        Of headlines.
    cache
        Of scores; closed with the source.
    """

    name = "news"

    def __init__(
        self, config: NewsConfig, feeds: Mapping[str, HttpClient], scorer: Scorer, cache: ScoreCache
    ) -> None:
        self.interval = config.interval
        self.max_age = config.max_age
        self._config = config
        self._feeds = feeds
        self._scorer = scorer
        self._cache = cache
        self._headlines: dict[str, Headline] = {}  # young enough to count, by digest

    @property
    def usage(self) -> Usage:
        """Of all feeds, and of what scores headlines."""
        parts = [client.usage for client in self._feeds.values()] + [self._scorer.usage]
        return Usage(sum(part.requests for part in parts), sum(part.throttled for part in parts))

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """Read all feeds, score what is new, and tell what it comes to; errors as of `AltSource.fetch`."""
        errors = await self._read_feeds(now_ms)
        if errors and len(errors) == len(self._feeds):
            raise errors[0]
        scores, error = await self._scores(now_ms)
        if error is not None:
            errors.append(error)
        readings = self._judge(assets, scores, now_ms)
        if errors:
            raise PartialFetchError(errors[0], readings)
        return readings

    async def close(self) -> None:
        """Close connections and cache."""
        for client in self._feeds.values():
            await client.close()
        await self._scorer.close()
        self._cache.close()

    # ------------------------------------------------------------------ parts

    async def _read_feeds(self, now_ms: int) -> list[AltDataError]:
        results = await asyncio.gather(*(self._read(name, client, now_ms) for name, client in self._feeds.items()))
        oldest_ms = now_ms - int(self._config.window * 1000)
        self._headlines = {d: h for d, h in self._headlines.items() if h.published_ms >= oldest_ms}
        return [error for error in results if error is not None]

    async def _read(self, name: str, client: HttpClient, now_ms: int) -> AltDataError | None:
        try:
            content = await client.read("GET", "")
            # A long feed takes tens of milliseconds to parse: other sources go on meanwhile.
            found = await asyncio.to_thread(read_feed, content, name, now_ms)
        except AltDataError as error:
            return error
        for headline in found:
            known = self._headlines.get(headline.digest)
            if known is None or headline.published_ms < known.published_ms:
                self._headlines[headline.digest] = headline
        return None

    async def _scores(self, now_ms: int) -> tuple[dict[str, float], AltDataError | None]:
        scorer = self._scorer
        scores = self._cache.find(scorer.name, self._headlines)
        new = [headline for digest, headline in self._headlines.items() if digest not in scores]
        if not new:
            return scores, None
        fresh = await scorer.score(sorted(new, key=lambda headline: -headline.published_ms), now_ms)
        self._cache.keep(scorer.name, fresh.found, now_ms)
        return scores | dict(fresh.found), fresh.error

    def _judge(self, assets: Sequence[str], scores: dict[str, float], now_ms: int) -> list[Reading]:
        names = AssetNames(assets, self._config.names)
        scored: dict[str, list[Scored]] = {asset: [] for asset in (MARKET, *assets)}
        for digest, headline in self._headlines.items():
            if digest in scores:
                for asset in names.of(headline.text):
                    scored[asset].append(Scored(scores[digest], headline.published_ms))
        readings = []
        for asset, items in scored.items():
            value = mood(
                items,
                now_ms,
                half_life_ms=int(self._config.half_life * 1000),
                least=self._config.least_headlines,
                clamp=self._config.clamp,
            )
            if value is not None:
                readings.append(Reading(asset, "sentiment", value, now_ms))
                readings.append(Reading(asset, "news_count", float(len(items)), now_ms))
        return readings
