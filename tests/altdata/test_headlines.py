"""Headlines of feeds: read, cleaned, told apart, given to assets."""

from __future__ import annotations

import pytest

from levibot.altdata.sentiment.headlines import AssetNames, clean, digest_of, read_feed
from levibot.errors import AltDataError

NOW_MS = 1_767_225_600_000  # 2026-01-01

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>Bitcoin &lt;b&gt;soars&lt;/b&gt; past   record</title>
<pubDate>Wed, 31 Dec 2025 23:00:00 GMT</pubDate></item>
<item><title>BITCOIN soars, past record!</title><pubDate>Wed, 31 Dec 2025 23:30:00 GMT</pubDate></item>
<item><title>From the future</title><pubDate>Fri, 01 Jan 2027 00:00:00 GMT</pubDate></item>
<item><title>No time</title></item>
<item><title>   </title></item>
</channel></rss>"""

ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><title type="html">Ether &amp;amp; Solana slide</title><updated>2025-12-31T22:00:00Z</updated></entry>
</feed>"""


def test_entries_are_cleaned_and_each_is_there_once_with_its_first_time() -> None:
    headlines = read_feed(RSS.encode(), "a feed", NOW_MS)
    assert [(h.text, h.published_ms) for h in headlines] == [
        ("From the future", NOW_MS),
        ("No time", NOW_MS),
        ("Bitcoin soars past record", NOW_MS - 3_600_000),
    ]


def test_atom_is_read_too() -> None:
    (headline,) = read_feed(ATOM.encode(), "a feed", NOW_MS)
    assert headline.text == "Ether & Solana slide"
    assert headline.published_ms == NOW_MS - 2 * 3_600_000


def test_a_feed_without_news_is_a_feed() -> None:
    assert read_feed(b'<rss version="2.0"><channel><title>x</title></channel></rss>', "a feed", NOW_MS) == []


@pytest.mark.parametrize(
    "content", [b"", b"<html><body>busy</body></html>", b'{"error": 1}', b"\x89PNG\r\n", b"<rss"]
)
def test_what_is_no_feed_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(AltDataError, match=r"news\.example: is no RSS or Atom feed"):
        read_feed(content, "news.example", NOW_MS)


def test_content_never_makes_it_open_something_else() -> None:
    with pytest.raises(AltDataError):
        read_feed(b"/etc/passwd", "a feed", NOW_MS)
    entity = b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss version="2.0"><channel><item><title>&x;'
    entity += b"</title></item></channel></rss>"
    assert all("root:" not in h.text for h in read_feed(entity, "a feed", NOW_MS))


def test_a_headline_is_one_short_line_of_plain_text() -> None:
    assert clean("<a href='x'>Up</a>\n\tand\u200b \x00away\u202e") == "Up and away"
    assert len(clean("x" * 5000)) == 300


def test_the_same_words_are_the_same_headline() -> None:
    assert digest_of("Bitcoin: up 5%!") == digest_of("bitcoin up 5")
    assert digest_of("Bitcoin up 5") != digest_of("Bitcoin up 6")
    assert digest_of("!!!") != digest_of("???")


@pytest.mark.parametrize(
    ("text", "assets"),
    [
        ("Bitcoin and ETH climb", ["BTC", "ETH"]),
        ("$SOL unlock ahead", ["SOL"]),
        ("All altcoins climb", [""]),
        ("He sold his link to the past", [""]),  # a word, not the ticker
        ("LINK jumps", ["LINK"]),
        ("Ethereal music", [""]),
        ("pepe coin is back", ["PEPE"]),
        ("Wrapped WBTC", [""]),
        ("A new AI model", [""]),
        ("$AI soars", ["AI"]),
    ],
)
def test_a_headline_belongs_to_the_assets_that_it_names(text: str, assets: list[str]) -> None:
    names = AssetNames(["BTC", "ETH", "SOL", "LINK", "PEPE", "A", "AI"], {"PEPE": ["pepe coin"]})
    assert names.of(text) == assets
