"""Headlines from RSS and Atom feeds: cleaned, told apart by content, and given to the assets that they name."""

from __future__ import annotations

import calendar
import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from levibot.errors import AltDataError

ABSENT = "news: feedparser and vaderSentiment are not installed; run `pip install 'levibot[altdata]'`"
MARKET = ""  # asset of a headline that names none: it concerns the whole market
_LONGEST = 300  # characters of a headline; longer ones are cut
_MOST_RAW = 3000  # of what a headline is cleaned from
_MOST = 500  # entries of one feed
_LEAST_TICKER = 3  # letters; shorter ones, such as A and AI, are words too: they need a dollar sign
_FUTURE_MS = 600_000  # a publisher's clock may be ahead by so much

# What people call the larger assets in headlines. A ticker counts only as a word in capitals, for many are words.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "ADA": ("cardano",),
    "AVAX": ("avalanche",),
    "BCH": ("bitcoin cash",),
    "BNB": ("binance coin", "bnb chain"),
    "BTC": ("bitcoin",),
    "DOGE": ("dogecoin",),
    "DOT": ("polkadot",),
    "ETH": ("ethereum", "ether"),
    "LINK": ("chainlink",),
    "LTC": ("litecoin",),
    "SHIB": ("shiba inu",),
    "SOL": ("solana",),
    "TON": ("toncoin",),
    "TRX": ("tron",),
    "UNI": ("uniswap",),
    "XLM": ("stellar lumens",),
    "XMR": ("monero",),
    "XRP": ("ripple",),
}
_MARKUP = re.compile(r"<[^>]{0,500}>")
_SPACE = re.compile(r"\s+")


class Headline(NamedTuple):
    """One piece of news."""

    digest: str  # of its words: the same headline in two feeds is one
    text: str
    published_ms: int
    feed: str = ""  # that told it first


def read_feed(content: bytes, source: str, now_ms: int) -> list[Headline]:
    """Headlines of a feed, each once, newest first.

    Parameters
    ----------
    content
        As the server sent it; nothing in it is trusted.
    source
        Name of the feed, for the error.
    now_ms
        Time of the fetch, Unix ms. An entry without a time, or with one that is still to come, gets this one.

    Raises
    ------
    AltDataError
        If it is no feed, or the extra that reads feeds is not installed.
    """
    try:
        import feedparser
    except ModuleNotFoundError as error:
        raise AltDataError(ABSENT, "refused") from error

    # Of a file object it never opens an address or a file, whatever the content says.
    parsed = feedparser.parse(BytesIO(content), sanitize_html=True, resolve_relative_uris=False)
    if not parsed.get("version"):
        raise AltDataError(f"{source}: is no RSS or Atom feed ({len(content)} bytes); correct its address")
    found: dict[str, Headline] = {}
    for entry in parsed.entries[:_MOST]:
        text = clean(str(entry.get("title", "")))
        if text:
            published_ms = _published_ms(entry, now_ms)
            headline = Headline(digest_of(text), text, published_ms, source)
            known = found.get(headline.digest)
            if known is None or published_ms < known.published_ms:
                found[headline.digest] = headline
    return sorted(found.values(), key=lambda headline: -headline.published_ms)


def clean(text: str) -> str:
    """One line of plain text: no markup, no control or invisible characters, not too long."""
    text = _MARKUP.sub(" ", html.unescape(text[:_MOST_RAW]))
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else "" for c in text)
    return _SPACE.sub(" ", text).strip()[:_LONGEST].rstrip()


def digest_of(text: str) -> str:
    """Identity of a headline: its words, whatever their case and punctuation."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return hashlib.sha256((words or text).encode()).hexdigest()


class AssetNames:
    """Which assets a headline is about.

    Parameters
    ----------
    assets
        Base assets that are traded.
    names
        Further names of assets, for example ``{"PEPE": ["pepe coin"]}``.
    """

    def __init__(self, assets: Iterable[str], names: Mapping[str, Sequence[str]]) -> None:
        self._patterns = {
            asset: _pattern(asset, (*_NAMES.get(asset, ()), *names.get(asset, ()))) for asset in assets
        }

    def of(self, text: str) -> list[str]:
        """Assets that `text` names; the market as a whole if it names none."""
        return [asset for asset, pattern in self._patterns.items() if pattern.search(text)] or [MARKET]


def _pattern(asset: str, names: Sequence[str]) -> re.Pattern[str]:
    dollar = r"\$" if len(asset) < _LEAST_TICKER else r"\$?"
    ticker = rf"(?<![\w$]){dollar}{re.escape(asset)}(?!\w)"
    spelled = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names)
    return re.compile(f"{ticker}|(?i:{spelled})" if spelled else ticker)


def _published_ms(entry: Any, now_ms: int) -> int:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    try:
        published_ms = calendar.timegm(moment) * 1000 if moment else now_ms
    except (TypeError, ValueError, OverflowError):
        return now_ms
    return published_ms if 0 < published_ms <= now_ms + _FUTURE_MS else now_ms
