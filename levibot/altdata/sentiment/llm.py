"""Scores by a language model behind any interface of OpenAI's form: Ollama, vLLM, Google, and many more."""

from __future__ import annotations

import hashlib
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


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class LlmScorer:
    """Asks about many headlines at once; a batch that fails costs the others nothing.

    Headlines that look like orders to the model are not sent, so they have no score.

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
        self.suspicious = 0  # headlines that were not sent
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
        sound = [headline for headline in headlines if not prompt.looks_like_an_order(headline.text)]
        self.suspicious += len(headlines) - len(sound)
        error: AltDataError | None = None
        for start in range(0, len(sound), self._batch):
            try:
                keep(await self._ask(sound[start : start + self._batch], now_ms))
            except DataStoreError as failure:  # what is spent could not be counted, so nothing is spent
                return AltDataError(f"news: {failure}", "disk")
            except AltDataError as failure:
                error = failure
                if failure.kind != "malformed":
                    break
        return error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, headlines: Sequence[Headline], now_ms: int) -> dict[str, float]:
        if self._cache.spent(now_ms) >= self._daily_requests:
            remedy = "raise altdata.news.daily_requests, or wait for 00:00 UTC"
            raise AltDataError(f"news: the {self._daily_requests} requests of today are spent; {remedy}", "budget")
        key = self._key.find()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._cache.spend(now_ms)
        body = prompt.request_of(headlines, self._model)
        completion = await self._client.post("/chat/completions", _Completion, body, headers=headers)
        content = completion.choices[0].message.content if completion.choices else None
        if content is None:
            raise AltDataError(f"news: {self._model} answered without any text; try another model")
        return prompt.scores_of(content, headlines)
