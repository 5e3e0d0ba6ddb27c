"""Scores by a language model behind any interface of OpenAI's form: Ollama, vLLM, Google, and many more."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

import msgspec

from levibot.altdata.http import HttpClient
from levibot.altdata.keys import ProviderKey
from levibot.altdata.sentiment import prompt
from levibot.altdata.sentiment.cache import ScoreCache
from levibot.altdata.sentiment.headlines import Headline
from levibot.altdata.sentiment.scorer import Keep
from levibot.altdata.source import Usage
from levibot.config_altdata import NewsConfig
from levibot.errors import AltDataError, DataStoreError

_OF_WORDS = ("malformed", "refused")  # faults that one headline can be the cause of


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class LlmScorer:
    """Asks about many headlines of a feed at once; a batch that fails costs the others nothing.

    Headlines that look like orders to the model are not sent, so they have no score. A batch whose answer makes no
    sense, or that the server refuses, as some do for what one headline says, is asked about again in halves, down
    to the headline with which that happens: it is not sent again, and the others have their scores. So each such
    headline costs some requests, once.

    Parameters
    ----------
    client
        Of the server, with the rate limit that all symbols share.
    config
        Section ``[altdata.news]``.
    key
        Sent as a bearer token, if there is one.
    cache
        Counts requests over restarts.
    """

    def __init__(self, client: HttpClient, config: NewsConfig, key: ProviderKey, cache: ScoreCache) -> None:
        words = hashlib.sha256(f"{config.model}\n{prompt.VERSION}".encode()).hexdigest()[:12]
        self.name = f"llm-{words}"
        self._refused: set[str] = set()  # digests of headlines with which the model makes no sense
        self._plain = False  # whether the server takes no other form
        self._client = client
        self._model = config.model
        self._key = key
        self._batch = config.batch
        self._daily_requests = config.daily_requests
        self._cache = cache

    @property
    def usage(self) -> Usage:
        """What the server has been asked."""
        return self._client.usage

    async def score(self, headlines: Sequence[Headline], now_ms: int, keep: Keep) -> AltDataError | None:
        """Score headlines in batches; a server that wants no more requests ends it."""
        self._refused &= {headline.digest for headline in headlines}
        sound = [headline for headline in headlines if self._may_be_sent(headline)]
        left = deque(self._batches(sound))
        works, error = False, None
        while left:
            batch = left.popleft()
            try:
                keep(await self._ask(batch, now_ms))
                works = True
            except DataStoreError as failure:  # what is spent could not be counted, so nothing is spent
                return AltDataError(f"news: {failure}", "disk")
            except AltDataError as failure:
                if failure.kind not in _OF_WORDS:
                    return failure
                # Before a headline is blamed, and before anything is: a server that is broken is asked no more.
                if (len(batch) == 1 or not works) and (broken := await self._why_broken(now_ms)) is not None:
                    return broken
                works = True
                if len(batch) > 1:
                    middle = len(batch) // 2
                    left.extendleft((batch[middle:], batch[:middle]))
                else:
                    self._refused.add(batch[0].digest)
                    error = AltDataError(f"news: {batch[0].text!r:.80} is left out: with it {failure}")
        return error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _may_be_sent(self, headline: Headline) -> bool:
        return headline.digest not in self._refused and not prompt.looks_like_an_order(headline.text)

    def _batches(self, headlines: Sequence[Headline]) -> list[list[Headline]]:
        """Each of one feed, the most urgent first: what a feed says must move no score of another's."""
        unfilled: dict[str, list[Headline]] = {}
        made: list[list[Headline]] = []
        for headline in headlines:
            batch = unfilled.get(headline.feed)
            if batch is None or len(batch) >= self._batch:
                batch = unfilled[headline.feed] = []
                made.append(batch)
            batch.append(headline)
        return made

    async def _why_broken(self, now_ms: int) -> AltDataError | None:
        """Why the model makes sense of nothing; None: it does, so it is for a headline that it did not."""
        try:
            await self._ask([], now_ms)
        except DataStoreError as failure:
            return AltDataError(f"news: {failure}", "disk")
        except AltDataError as failure:
            return failure
        return None

    async def _ask(self, headlines: Sequence[Headline], now_ms: int) -> dict[str, float]:
        completion = await self._answer(headlines, now_ms)
        content = completion.choices[0].message.content if completion.choices else None
        if content is None:
            raise AltDataError(f"news: {self._model} answered without any text; try another model")
        return prompt.scores_of(content, headlines)

    async def _answer(self, headlines: Sequence[Headline], now_ms: int) -> _Completion:
        """In the plain form from when the server has refused the other, and taken that."""
        try:
            return await self._send(headlines, now_ms, plain=self._plain)
        except AltDataError as refusal:
            if refusal.kind != "refused" or self._plain:
                raise
            try:
                completion = await self._send(headlines, now_ms, plain=True)
            except AltDataError:
                raise refusal from None
            self._plain = True
            return completion

    async def _send(self, headlines: Sequence[Headline], now_ms: int, *, plain: bool) -> _Completion:
        if self._cache.spent(now_ms) >= self._daily_requests:
            remedy = "raise altdata.news.daily_requests, or wait for 00:00 UTC"
            raise AltDataError(f"news: the {self._daily_requests} requests of today are spent; {remedy}", "budget")
        key = self._key.find()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._cache.spend(now_ms)
        body = prompt.request_of(headlines, self._model, plain=plain)
        return await self._client.post("/chat/completions", _Completion, body, headers=headers)
