"""Sentiment from feeds to readings, against servers that speak RSS and OpenAI's form."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from levibot.altdata.sentiment.prompt import CONTROLS
from levibot.altdata.source import AltSource, PartialFetchError, Reading
from levibot.altdata.sources import make_sources
from levibot.config_altdata import AltDataConfig, NewsConfig
from levibot.errors import AltDataError
from tests.altdata.providers import BODY, FAULTS, Fault, Provider, serving

NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
ASSETS = ["BTC", "ETH"]
GOOD = ("Bitcoin surges to a record", "Bitcoin rally continues", "Bitcoin soars on inflows")
BAD = ("Ethereum plunges", "Ether exploit drains $5M", "Ethereum selloff deepens")


def rss(*titles: str, age_minutes: int = 10) -> bytes:
    date = formatdate((NOW_MS - age_minutes * MINUTE_MS) / 1000, usegmt=True)
    items = "".join(f"<item><title>{title}</title><pubDate>{date}</pubDate></item>" for title in titles)
    return f'<rss version="2.0"><channel><title>n</title>{items}</channel></rss>'.encode()


def scored(request: web.Request) -> dict[str, Any]:
    headlines = json.loads(json.loads(request[BODY])["messages"][1]["content"])["headlines"]
    given = [
        {"id": h["id"], "score": 0.5 if CONTROLS.get(h["text"], h["text"] in GOOD) == 1 else -0.5}
        for h in headlines
    ]
    return {"choices": [{"message": {"content": json.dumps({"scores": given})}}]}


def playing(
    tmp_path: Path,
    feeds: dict[str, Callable[[web.Request], bytes]],
    play: Callable[[AltSource, Provider], Awaitable[Any]],
    **settings: Any,
) -> Any:
    async def stage() -> Any:
        async with serving({**feeds, "/v1/chat/completions": scored}) as provider:
            urls = tuple(f"{provider.url}{path}" for path in feeds)
            news = NewsConfig(enabled=True, feeds=urls, url=f"{provider.url}/v1", **settings)
            ((source, _identity),) = make_sources(AltDataConfig(news=news), tmp_path, {})
            try:
                return await play(source, provider)
            finally:
                await source.close()

    return asyncio.run(stage())


def fetch(source: AltSource, _provider: Provider) -> Awaitable[list[Reading]]:
    return source.fetch(ASSETS, NOW_MS)


def values(readings: list[Reading]) -> dict[tuple[str, str], float]:
    return {(reading.asset, reading.name): reading.value for reading in readings}


TWO_FEEDS = {"/a": lambda _: rss(*GOOD), "/b": lambda _: rss(*BAD, GOOD[0].upper())}


def test_each_asset_has_the_mood_of_its_own_headlines(tmp_path: Path) -> None:
    found = values(playing(tmp_path, TWO_FEEDS, fetch))
    assert found["BTC", "sentiment"] > 0.3
    assert found["ETH", "sentiment"] < -0.3
    assert found["BTC", "news_count"] == 3, "the same headline in two feeds is one"
    assert ("", "sentiment") not in found, "nothing was said of the market as a whole"


def test_too_few_headlines_give_no_reading(tmp_path: Path) -> None:
    assert values(playing(tmp_path, {"/a": lambda _: rss(*GOOD[:2])}, fetch)) == {}


def test_old_headlines_do_not_count(tmp_path: Path) -> None:
    assert playing(tmp_path, {"/a": lambda _: rss(*GOOD, age_minutes=400)}, fetch) == []


def test_a_model_scores_each_headline_once_over_restarts(tmp_path: Path) -> None:
    async def twice(source: AltSource, provider: Provider) -> tuple[dict[tuple[str, str], float], int]:
        for _ in range(2):
            found = values(await source.fetch(ASSETS, NOW_MS))
        return found, sum(request.method == "POST" for request in provider.asked)

    for expected in (2, 0):  # requests: each feed has its own
        found, asked = playing(tmp_path, TWO_FEEDS, twice, scorer="llm")
        assert asked == expected
        assert found["BTC", "sentiment"] == pytest.approx(0.5)
        assert found["ETH", "sentiment"] == pytest.approx(-0.5)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG", b'{"items": []}'])
def test_one_feed_that_fails_costs_the_other_nothing(tmp_path: Path, content: bytes) -> None:
    feeds = {"/a": lambda _: content, "/b": lambda _: rss(*BAD)}
    with pytest.raises(PartialFetchError) as caught:
        playing(tmp_path, feeds, fetch)
    assert values(caught.value.readings)["ETH", "sentiment"] < -0.3
    assert "/a" in str(caught.value)


@pytest.mark.parametrize("name", ["429 with seconds", "no such path", "sent elsewhere", "huge"])
def test_a_feed_that_is_away_is_a_failure_of_its_kind(tmp_path: Path, name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)

    async def play(source: AltSource, provider: Provider) -> AltDataError:
        provider.fail(fault)
        with pytest.raises(AltDataError) as caught:
            await source.fetch(ASSETS, NOW_MS)
        return caught.value

    assert playing(tmp_path, {"/a": lambda _: rss(*GOOD)}, play).kind == fault.kind


def test_a_feed_that_asks_for_patience_is_waited_for_alone(tmp_path: Path) -> None:
    feeds = {"/a": lambda _: rss(*GOOD), "/b": lambda _: rss(*BAD)}

    async def play(source: AltSource, provider: Provider) -> PartialFetchError:
        provider.fail(Fault("patience", "throttled", 429, {"Retry-After": "80000"}, lasts=1))
        with pytest.raises(PartialFetchError) as caught:
            await source.fetch(ASSETS, NOW_MS)
        with pytest.raises(PartialFetchError):
            await source.fetch(ASSETS, NOW_MS)
        assert len(provider.asked) == 3, "who wants to be left in peace is not asked again"
        return caught.value

    assert playing(tmp_path, feeds, play).wait_s == 0


def test_an_address_is_asked_as_it_is_written_and_for_a_feed(tmp_path: Path) -> None:
    async def play(source: AltSource, provider: Provider) -> list[Reading]:
        readings = await source.fetch(ASSETS, NOW_MS)
        assert "application/rss+xml" in provider.asked[0].headers["Accept"]
        return readings

    assert playing(tmp_path, {"/feed/": lambda _: rss(*GOOD)}, play)


def test_scores_that_were_paid_for_outlive_a_fetch_that_takes_too_long(tmp_path: Path) -> None:
    async def play(source: AltSource, provider: Provider) -> int:
        answers = [scored]

        def one_then_slow(request: web.Request) -> dict[str, Any]:
            if not answers:
                fetching.cancel()
            return (answers.pop() if answers else scored)(request)

        provider.answers["/v1/chat/completions"] = one_then_slow
        fetching = asyncio.create_task(source.fetch(ASSETS, NOW_MS))
        with pytest.raises(asyncio.CancelledError):
            await fetching
        provider.asked.clear()
        provider.answers["/v1/chat/completions"] = scored
        await source.fetch(ASSETS, NOW_MS)
        return sum(request.method == "POST" for request in provider.asked)

    assert playing(tmp_path, TWO_FEEDS, play, scorer="llm", batch=2) == 3, "of four batches one was whole"


def test_an_old_story_does_not_become_news_by_a_new_date(tmp_path: Path) -> None:
    undated = rss(*GOOD).replace(b"pubDate", b"other")

    async def later(source: AltSource, _provider: Provider) -> list[Reading]:
        assert values(await source.fetch(ASSETS, NOW_MS))["BTC", "news_count"] == 3
        assert await source.fetch(ASSETS, NOW_MS + 359 * MINUTE_MS)
        return await source.fetch(ASSETS, NOW_MS + 361 * MINUTE_MS)

    assert playing(tmp_path, {"/a": lambda _: undated}, later) == []


def restarted(tmp_path: Path, provider: Provider, *paths: str, minute: int) -> Awaitable[list[Reading]]:
    """What the source of a new process tells."""
    news = NewsConfig(enabled=True, feeds=tuple(f"{provider.url}{path}" for path in paths))
    ((source, _identity),) = make_sources(AltDataConfig(news=news), tmp_path, {})

    async def ask() -> list[Reading]:
        try:
            return await source.fetch(ASSETS, NOW_MS + minute * MINUTE_MS)
        finally:
            await source.close()

    return ask()


def test_headlines_count_after_a_restart_until_they_are_too_old_themselves(tmp_path: Path) -> None:
    feed = [rss(*GOOD)]

    async def play(source: AltSource, provider: Provider) -> None:
        assert values(await fetch(source, provider))["BTC", "news_count"] == 3
        feed[0] = rss("Bitcoin climbs", age_minutes=-1)  # the feed tells no more of the others
        for minute in (2, 349):
            found = values(await restarted(tmp_path, provider, "/a", minute=minute))
            assert found["BTC", "news_count"] == 4
        assert await restarted(tmp_path, provider, "/a", minute=351) == [], "one alone is not believed"

    playing(tmp_path, {"/a": lambda _: feed[0]}, play)


def test_headlines_of_a_feed_that_is_read_no_more_do_not_count(tmp_path: Path) -> None:
    async def play(source: AltSource, provider: Provider) -> None:
        assert ("BTC", "news_count") in values(await fetch(source, provider))
        assert ("BTC", "news_count") not in values(await restarted(tmp_path, provider, "/b", minute=1))

    playing(tmp_path, {**TWO_FEEDS, "/b": lambda _: rss(*BAD)}, play)


def test_a_model_that_fails_for_long_does_not_leave_old_headlines_as_the_mood_of_today(tmp_path: Path) -> None:
    feed = [rss(*GOOD, age_minutes=60)]

    async def play(source: AltSource, provider: Provider) -> PartialFetchError:
        await source.fetch(ASSETS, NOW_MS)
        feed[0] = rss("Bitcoin falls", "Bitcoin falls again", "Bitcoin at a low")
        provider.answers["/v1/chat/completions"] = lambda _: b"<html>"
        with pytest.raises(PartialFetchError) as caught:
            await source.fetch(ASSETS, NOW_MS)
        return caught.value

    assert playing(tmp_path, {"/a": lambda _: feed[0]}, play, scorer="llm").readings == []


def test_a_disk_that_refuses_scores_is_told_and_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "headline-scores.sqlite").mkdir()
    with pytest.raises(PartialFetchError) as caught:
        playing(tmp_path, TWO_FEEDS, fetch)
    assert caught.value.kind == "disk"
    assert values(caught.value.readings)["BTC", "sentiment"] > 0.3


def test_all_feeds_that_fail_are_told(tmp_path: Path) -> None:
    feeds = {"/a": lambda _: b"<html>", "/b": lambda _: rss(*BAD), "/c": lambda _: b"{}"}
    with pytest.raises(PartialFetchError, match=r"news: 2 of 3 feeds failed: .*/a.*; .*/c") as caught:
        playing(tmp_path, feeds, fetch)
    assert str(caught.value).count("news:") == 1


def test_without_any_feed_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(AltDataError, match="is no RSS or Atom feed") as caught:
        playing(tmp_path, {"/a": lambda _: b"<html>maintenance</html>"}, fetch)
    assert not isinstance(caught.value, PartialFetchError)


def test_a_model_that_fails_leaves_what_was_scored_before(tmp_path: Path) -> None:
    feed = [rss(*GOOD)]

    async def play(source: AltSource, provider: Provider) -> PartialFetchError:
        await source.fetch(ASSETS, NOW_MS)
        feed[0] = rss(*GOOD, *BAD)
        provider.answers["/v1/chat/completions"] = lambda _: b"<html>"
        with pytest.raises(PartialFetchError) as caught:
            await source.fetch(ASSETS, NOW_MS)
        return caught.value

    error = playing(tmp_path, {"/a": lambda _: feed[0]}, play, scorer="llm")
    assert values(error.readings) == {("BTC", "sentiment"): pytest.approx(0.5), ("BTC", "news_count"): 3}


@pytest.mark.parametrize("missing", ["feedparser", "vaderSentiment.vaderSentiment"])
def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(AltDataError, match=r"levibot\[altdata\]"):
        playing(tmp_path, TWO_FEEDS, fetch)


def test_a_source_that_cannot_be_made_touches_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "levibot.altdata.onchain.dune", raising=False)
    monkeypatch.setitem(sys.modules, "dune_client.models", None)
    config = AltDataConfig.model_validate(
        {"dune": {"enabled": True, "queries": {"netflow": 1}}, "mempool": {"enabled": True}}
    )
    mempool, dune = [source for source, _ in make_sources(config, tmp_path, {})]
    assert mempool.name == "mempool"
    with pytest.raises(AltDataError, match=r"dune: cannot be made \(ModuleNotFoundError"):
        asyncio.run(dune.fetch(ASSETS, NOW_MS))


def test_a_feed_may_have_a_query_which_is_asked_for_and_never_told(tmp_path: Path) -> None:
    def search(request: web.Request) -> bytes:
        return rss(*GOOD) if request.query["q"] == "bitcoin & co" else b"<html>"

    async def ask() -> PartialFetchError:
        async with serving({"/search": search}) as provider:
            queries = ("bitcoin+%26+co", "solana")
            news = NewsConfig(enabled=True, feeds=tuple(f"{provider.url}/search?q={query}" for query in queries))
            ((source, _identity),) = make_sources(AltDataConfig(news=news), tmp_path, {})
            try:
                with pytest.raises(PartialFetchError, match=r"/search \(2\): is no RSS or Atom feed") as caught:
                    await source.fetch(ASSETS, NOW_MS)
            finally:
                await source.close()
            return caught.value

    error = asyncio.run(ask())
    assert values(error.readings)["BTC", "news_count"] == 3
    assert "solana" not in str(error)


@pytest.mark.parametrize("url", ["https://me:secret@example.org/rss?q=1", "ftp://example.org/rss", "/rss?q=1"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        NewsConfig(enabled=True, feeds=(url,))


def test_news_without_a_feed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one RSS or Atom feed"):
        NewsConfig(enabled=True)
