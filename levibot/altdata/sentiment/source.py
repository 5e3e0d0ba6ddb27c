"""Sentiment: headlines of the user's feeds, each scored once, and what they come to for each asset."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from levibot.altdata.http import HttpClient
from levibot.altdata.sentiment.cache import Kept, ScoreCache
from levibot.altdata.sentiment.headlines import MARKET, AssetNames, Headline, read_feed
from levibot.altdata.sentiment.mood import Scored, mood
from levibot.altdata.sentiment.scorer import Scorer
from levibot.altdata.source import PartialFetchError, Reading, Usage
from levibot.config_altdata import NewsConfig
from levibot.errors import AltDataError, DataStoreError

_LONGEST_TEXT = 600
_MOST_HEADLINES = 5000  # that count at a time; older ones give way


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
        self._headlines: dict[str, Headline] = {}  # young enough to count, by digest, newest first
        self._kept: dict[str, Headline] | None = None  # of these, what the next process knows; None: not read yet
        # A feed takes tens of milliseconds to parse, one that is made for it half a minute, and cannot be stopped:
        # so it has a thread of its own, which others that work in threads do not wait for.
        self._parser = ThreadPoolExecutor(1, "feeds")

    @property
    def usage(self) -> Usage:
        """Of all feeds, and of what scores headlines."""
        parts = [client.usage for client in self._feeds.values()] + [self._scorer.usage]
        return Usage(sum(part.requests for part in parts), sum(part.throttled for part in parts))

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """Read all feeds, score what is new, and tell what it comes to; errors as of `AltSource.fetch`."""
        oldest_ms = now_ms - int(self._config.window * 1000)
        failures = self._recall(oldest_ms)
        errors = await self._read_feeds(now_ms)
        if errors and len(errors) == len(self._feeds):
            raise AltDataError(self._told(errors), errors[0].kind, min(error.wait_s for error in errors))
        failures += self._remember(oldest_ms)
        told = self._told(errors) if errors else ""
        scores, unscored = await self._scores(now_ms)
        failures += unscored
        kinds = [error.kind for error in (*errors, *failures)]
        told = "; ".join(filter(None, [told, *(str(error) for error in failures[:1])]))
        # In a thread: names of a hundred assets in thousands of headlines take a second.
        readings = await asyncio.to_thread(self._judge, list(self._headlines.values()), assets, scores, now_ms)
        if told:  # who asks for patience gets it of his own client: the others are not to wait with him
            raise PartialFetchError(AltDataError(told, kinds[0]), readings)
        return readings

    async def close(self) -> None:
        """Close connections and cache."""
        for client in self._feeds.values():
            await client.close()
        await self._scorer.close()
        self._parser.shutdown(wait=False, cancel_futures=True)
        self._cache.close()

    # ------------------------------------------------------------------ parts

    def _told(self, errors: Sequence[AltDataError]) -> str:
        """All feeds that failed in one text, which is as long as that of one where only one did."""
        if len(errors) == 1:
            return str(errors[0])
        texts = "; ".join(str(error).removeprefix(f"{self.name}: ") for error in errors)
        return f"{self.name}: {len(errors)} of {len(self._feeds)} feeds failed: {texts}"[:_LONGEST_TEXT]

    def _recall(self, oldest_ms: int) -> list[AltDataError]:
        """Take up once what the process before has seen: feeds tell of the newest alone, the others count on."""
        if self._kept is not None:
            return []
        try:
            seen = self._cache.headlines(oldest_ms)
        except DataStoreError as error:
            return [AltDataError(f"{self.name}: {error}", "disk")]
        self._kept = {headline.digest: headline for headline in seen}
        known = {digest: headline for digest, headline in self._kept.items() if headline.feed in self._feeds}
        self._headlines = {**known, **self._headlines}
        return []

    def _remember(self, oldest_ms: int) -> list[AltDataError]:
        """Leave to the next process what is new."""
        kept = self._kept or {}
        new = [headline for digest, headline in self._headlines.items() if kept.get(digest) != headline]
        try:
            if new:
                self._cache.remember(new, oldest_ms)
        except DataStoreError as error:
            return [AltDataError(f"{self.name}: {error}", "disk")]
        if self._kept is not None:
            self._kept = dict(self._headlines)
        return []

    async def _read_feeds(self, now_ms: int) -> list[AltDataError]:
        results = await asyncio.gather(*(self._read(name, client, now_ms) for name, client in self._feeds.items()))
        oldest_ms = now_ms - int(self._config.window * 1000)
        young = [headline for headline in self._headlines.values() if headline.published_ms >= oldest_ms]
        newest = sorted(young, key=lambda headline: -headline.published_ms)[:_MOST_HEADLINES]
        self._headlines = {headline.digest: headline for headline in newest}
        return [error for error in results if error is not None]

    async def _read(self, name: str, client: HttpClient, now_ms: int) -> AltDataError | None:
        try:
            content = await client.read("GET", "")
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._parser, read_feed, content, name, now_ms)
        except AltDataError as error:
            return error
        for headline in found:
            known = self._headlines.get(headline.digest)
            if known is None or headline.published_ms < known.published_ms:
                self._headlines[headline.digest] = headline
        return None

    async def _scores(self, now_ms: int) -> tuple[dict[str, Kept], list[AltDataError]]:
        """What is known of the headlines, and what went wrong."""
        scorer, cache, errors = self._scorer, self._cache, list[AltDataError]()
        scores: dict[str, Kept] = {}

        def keep(found: Mapping[str, float]) -> None:
            scores.update((digest, Kept(score, now_ms)) for digest, score in found.items())
            try:
                cache.keep(scorer.name, found, now_ms)
            except DataStoreError as error:
                errors.append(AltDataError(f"{self.name}: {error}", "disk"))

        try:
            scores |= cache.find(scorer.name, self._headlines)
        except DataStoreError as error:
            errors.append(AltDataError(f"{self.name}: {error}", "disk"))
        new = [headline for digest, headline in self._headlines.items() if digest not in scores]
        failure = await scorer.score(new, now_ms, keep) if new else None
        return scores, errors if failure is None else [*errors, failure]

    def _judge(
        self, headlines: Sequence[Headline], assets: Sequence[str], scores: Mapping[str, Kept], now_ms: int
    ) -> list[Reading]:
        names = AssetNames(assets, self._config.names)
        oldest_ms = now_ms - int(self._config.window * 1000)
        scored: dict[str, list[Scored]] = {asset: [] for asset in (MARKET, *assets)}
        unscored_ms: dict[str, list[int]] = {asset: [] for asset in (MARKET, *assets)}
        for headline in headlines:
            kept = scores.get(headline.digest)
            # What was scored long ago is not news, whatever time the feed gives it now.
            published_ms = min(headline.published_ms, kept.scored_ms if kept else now_ms)
            for asset in names.of(headline.text) if published_ms >= oldest_ms else ():
                if kept is None:
                    unscored_ms[asset].append(published_ms)
                else:
                    scored[asset].append(Scored(kept.score, published_ms))
        readings = []
        for asset, items in scored.items():
            value = mood(
                items,
                unscored_ms[asset],
                now_ms,
                half_life_ms=int(self._config.half_life * 1000),
                least=self._config.least_headlines,
                clamp=self._config.clamp,
            )
            if value is not None:
                readings.append(Reading(asset, "sentiment", value, now_ms))
                readings.append(Reading(asset, "news_count", float(len(items)), now_ms))
        return readings
