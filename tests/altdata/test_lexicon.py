"""VADER with the words of these markets."""

from __future__ import annotations

import asyncio

from levibot.altdata.sentiment.headlines import Headline, digest_of
from levibot.altdata.sentiment.lexicon import CRYPTO_VALENCE, LexiconScorer

GOOD = [
    "Bitcoin surges past $100k on record ETF inflows",
    "Ethereum rally continues",
    "SEC approves spot Solana ETF",
]
BAD = [
    "Exchange hacked, $200M drained",
    "SEC sues Binance",
    "Bitcoin plunges 10% in liquidation cascade",
    "Stablecoin depegs, lender insolvent",
]


def scored(texts: list[str]) -> list[float]:
    headlines = [Headline(digest_of(text), text, 0) for text in texts]
    scores: dict[str, float] = {}
    assert asyncio.run(LexiconScorer().score(headlines, 0, scores.update)) is None
    return [scores[headline.digest] for headline in headlines]


def test_good_news_is_above_and_bad_news_below_zero() -> None:
    assert min(scored(GOOD)) > 0.2
    assert max(scored(BAD)) < -0.2


def test_the_crypto_lexicon_is_what_tells() -> None:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    plain = SentimentIntensityAnalyzer().polarity_scores("Bitcoin plunges 10% in liquidation cascade")["compound"]
    assert plain == 0


def test_scores_are_bounded() -> None:
    assert all(-1 <= score <= 1 for score in scored(["crash " * 100, "surge " * 100, "", "₿"]))


def test_valences_are_of_vaders_scale() -> None:
    for word, valence in CRYPTO_VALENCE.items():
        assert -4 <= valence <= 4, word
        assert word == word.lower()
